# A plugin of sos (sosreport): copy it to sos/report/plugins/kptop.py. `sos report -o kptop` runs it alone.
# Each of these reads and writes nothing; what `collect` gathers, `kptop --from` shows again, also packed in sos' own archive.

import os

from sos.report.plugins import Plugin, RedHatPlugin, DebianPlugin, UbuntuPlugin


class Kptop(Plugin, RedHatPlugin, DebianPlugin, UbuntuPlugin):

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
        archive = os.path.join(self.get_cmd_output_path(), "kptop-collect.tar.gz")
        self.add_cmd_output(f"kptop collect {archive}", suggest_filename="collect")
