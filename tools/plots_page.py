"""Write the page for `dvc plots`. It contains Vega, which DVC's own page loads from the network."""

import argparse
import json
from pathlib import Path

from stages.common.errors import run
from stages.common.whole_files import whole_file
from stages.report.look import CONFIG, STYLE
from stages.report.page import script

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<link rel="icon" href="data:,">
<title>dvc plots</title>
{{refresh_tag}}
<style>
{style}
body {{ background: var(--background); color: var(--text); font-family: system-ui, sans-serif; }}
</style>
<!-- Vega, Vega-Lite, Vega-Embed: University of Washington Interactive Data Lab, BSD 3-Clause. -->
<script>{script}</script>
<script>
const embed = window.vegaEmbed;
window.vegaEmbed = (place, plot) => embed(place, plot, {{ renderer: "svg", config: {config} }});
</script>
</head>
<body>
{{plot_divs}}
</body>
</html>
"""
"""DVC replaces {plot_divs} and {refresh_tag} by its own HTML."""


def page() -> str:
    """Write the page, for `dvc config plots.html_template`."""
    return PAGE.format(style=STYLE, script=script(), config=json.dumps(CONFIG))


def main() -> None:
    """Write the page where DVC's configuration says it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path, nargs="?", default=Path(".dvc/plots.html"))
    place = parser.parse_args().page
    with whole_file(place) as draft:
        draft.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    run(main)
