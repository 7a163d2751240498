"""The page's frame and its style sheet. Nothing is loaded from anywhere: no script, no font, no image."""

from __future__ import annotations

from html import escape
from string import Template

STYLE_SHEET = """
:root { color-scheme: light dark; --paper: #fbfbf9; --card: #ffffff; --ink: #1d2126; --soft: #5f6873; --line: #d9dde2;
  --accent: #3f83d4; --attention: #3f83d4; --mlp: #8a63c9; --embedding: #2f9e7a; --good: #1f8562; --bad: #c23b3b; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171b; --card: #1b1f25; --ink: #e6e9ed; --soft: #9aa4b0;
  --line: #363d47; --good: #4cc79c; --bad: #f07a7a; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI",
  Roboto, "Helvetica Neue", Arial, sans-serif; -webkit-text-size-adjust: 100%; }
main { max-width: 1120px; margin: 0 auto; padding: 28px 20px 48px; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0; letter-spacing: -0.01em; }
h2 { font-size: 1.2rem; margin: 40px 0 10px; padding-top: 18px; border-top: 1px solid var(--line); }
h3 { font-size: 0.95rem; margin: 0 0 4px; overflow-wrap: anywhere; }
p { margin: 0 0 12px; }
.facts, .note, .budget { color: var(--soft); }
.facts { margin: 4px 0 14px; overflow-wrap: anywhere; }
.note { font-size: 0.82rem; }
.budget { font-weight: normal; }
.found { font-size: 1.1rem; font-weight: 600; overflow-wrap: anywhere; }
.state { padding: 10px 14px; border-left: 3px solid var(--accent); background: var(--card); }
.tiles { display: flex; flex-wrap: wrap; gap: 10px; }
.tile { display: flex; flex: 1 1 150px; flex-direction: column; padding: 10px 14px; background: var(--card);
  border: 1px solid var(--line); border-radius: 8px; min-width: 0; max-width: 340px;
  overflow-wrap: anywhere; }
.tile .name { color: var(--soft); font-size: 0.82rem; }
.tile .value { font-size: 1.45rem; font-weight: 650; line-height: 1.25; }
.tile.good .note { color: var(--good); }
.tile.bad .note { color: var(--bad); font-weight: 600; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 330px), 1fr)); gap: 22px 28px;
  align-items: start; margin-bottom: 16px; }
.figures > * { min-width: 0; max-width: 560px; width: 100%; }
.figures > figure { max-width: 440px; }
figure { margin: 0; }
figure svg { display: block; height: auto; margin-bottom: 6px; color: var(--ink); }
figure svg text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif
  !important; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 2px 16px; margin: 0 0 4px; padding: 0;
  font-size: 0.85rem; color: var(--soft); overflow-wrap: anywhere; }
.legend b { color: var(--ink); font-weight: 600; }
.swatch { display: inline-block; width: 11px; height: 11px; border-radius: 2px; margin-right: 6px; }
.stroke { display: inline-block; width: 24px; height: 0; margin: 0 6px 0 0; vertical-align: middle; }
.drawing .attention { fill: var(--attention); } .drawing .mlp { fill: var(--mlp); }
.drawing .embedding { fill: var(--embedding); } .drawing .cut { stroke: var(--paper); stroke-width: 1.5; }
.drawing .outline { fill: none; stroke: var(--soft); stroke-opacity: 0.55; stroke-dasharray: 3 3; }
.drawing .inside { fill: #ffffff; } .drawing .label { fill: var(--ink); } .drawing .side { fill: var(--soft); }
.bar { display: grid; grid-template-columns: 7em 1fr 4.6em; gap: 10px; align-items: center; margin: 5px 0;
  font-size: 0.88rem; }
.bar .net { overflow-wrap: anywhere; } .bar .value { text-align: right; font-variant-numeric: tabular-nums; }
.track { position: relative; height: 18px; background: color-mix(in srgb, var(--line) 45%, transparent);
  border-radius: 3px; }
.fill { position: absolute; inset: 0 auto 0 0; background: var(--accent); border-radius: 3px; }
.bar.over .fill { background: color-mix(in srgb, var(--soft) 70%, transparent); }
.limit { position: absolute; top: -3px; bottom: -3px; width: 0; border-left: 2px dashed var(--bad);
  margin-left: -1px; }
.scroll { overflow-x: auto; margin-bottom: 14px; }
table { border-collapse: collapse; font-size: 0.88rem; }
th, td { text-align: left; padding: 5px 14px 5px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--soft); font-weight: 500; white-space: nowrap; }
td.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
table:not(.pairs):not(.choices):not(.runs) td:last-child { white-space: nowrap; }
.pairs td:first-child { color: var(--soft); } .pairs td { overflow-wrap: anywhere; } .pairs { width: 100%; }
.choices td:last-child, .marked td { font-weight: 600; }
.runs td { min-width: 7.5em; max-width: 24em; overflow-wrap: anywhere; }
.runs td.number { white-space: nowrap; }
.runs th { max-width: 24em; white-space: normal; overflow-wrap: anywhere; }
.runs th:first-child, .runs td:first-child { position: sticky; left: 0; min-width: 12em; max-width: 12em;
  background: var(--paper); color: var(--soft); }
details { font-size: 0.88rem; margin-bottom: 14px; } summary { color: var(--soft); cursor: pointer; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 12px 14px; overflow-x: auto;
  white-space: pre-wrap; overflow-wrap: anywhere; font-size: 0.85rem; margin: 0 0 12px; }
@media (max-width: 480px) { main { padding: 20px 14px 36px; }
  .runs th:first-child, .runs td:first-child { min-width: 10.5em; max-width: 10.5em; } }
@media print { main { max-width: none; } figure, pre, tr { break-inside: avoid; } }
"""

PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>$title</title>
<style>$style</style>
</head>
<body>
<main>
$body
</main>
</body>
</html>
""")


def page_html(title: str, body: str) -> str:
    """The whole page; `title` is plain text, `body` is HTML."""
    return PAGE.substitute(title=escape(title), style=STYLE_SHEET, body=body)


def section_html(heading: str, body: str) -> str:
    """A part of the page under its heading; `body` is HTML."""
    return f"<section><h2>{escape(heading)}</h2>\n{body}\n</section>\n"


def figure_html(heading: str, svg: str, legend: str = "", note: str = "") -> str:
    """A chart under its heading; nothing where there is no chart. `svg` and `legend` are HTML, `note` plain text."""
    if not svg:
        return ""
    caption = f'<figcaption class="note">{escape(note)}</figcaption>' if note else ""
    return f"<figure><h3>{escape(heading)}</h3>\n{legend}\n{svg}\n{caption}</figure>\n"
