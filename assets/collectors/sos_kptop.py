# A plugin of sos (sosreport): copy it to sos/report/plugins/kptop.py. `sos report -o kptop` runs it alone.
# Each of these reads and writes nothing; what `collect` gathers, `kptop --from` shows again, also packed in sos' own archive.

from sos.report.plugins import Plugin, IndependentPlugin


class Kptop(Plugin, IndependentPlugin):

    short_desc = "Services that kube-proxy left in the kernel"

    plugin_name = "kptop"
    profiles = ("network", "container")
    commands = ("kptop",)

    def setup(self):
        self.add_cmd_output([
            "kptop --version",
            "kptop doctor",
            "kptop doctor -o json",
            "kptop snapshot -o json",
            "kptop compare",
        ])
        # One archive with all of it as the tools print it.
        archive = self.get_cmd_output_path(name="kptop-collect.tar.gz")
        self.add_cmd_output(f"kptop collect {archive}", suggest_filename="collect")
