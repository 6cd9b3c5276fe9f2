{{- define "kptop.name" -}}
{{- if contains "kptop" .Release.Name }}{{ .Release.Name | trunc 63 }}{{ else }}{{ printf "%s-kptop" .Release.Name | trunc 63 }}{{ end }}
{{- end }}
{{- define "kptop.selector" -}}
app.kubernetes.io/name: kptop
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
{{- define "kptop.labels" -}}
{{ include "kptop.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}
