"""The frame of the preview page: HTML and style, nothing from outside, light and dark."""

from __future__ import annotations

from string import Template

PAGE = Template("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
:root { color-scheme: light dark; --ground: #f6f6f4; --card: #fff; --ink: #1b1b1b; --faint: #666; --rule: #dcdcd8;
  --right: #00734d; --bar: #0072b2; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #151617; --card: #1f2123; --ink: #ececea; --faint: #a0a3a6; --rule: #383b3e;
    --right: #4cc38a; --bar: #56b4e9; }
  img { filter: brightness(.92); }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 24px 16px 64px; }
h1 { font-size: 1.6rem; margin: 0 0 8px; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 40px 0 12px; }
h3 { font-size: 1.05rem; margin: 0; overflow-wrap: anywhere; }
h4 { font-size: .72rem; letter-spacing: .06em; text-transform: uppercase; color: var(--faint); margin: 18px 0 2px; }
p { margin: 0 0 4px; }
code { font: .9em ui-monospace, monospace; overflow-wrap: anywhere; }
.faint { color: var(--faint); font-size: .85rem; }
.panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 300px), 1fr)); gap: 16px;
  align-items: start; margin-top: 16px; }
.wide { overflow-x: auto; background: var(--card); border: 1px solid var(--rule); border-radius: 8px; }
table { border-collapse: collapse; width: 100%; font-size: .88rem; }
th, td { text-align: left; padding: 5px 12px; white-space: nowrap; border-top: 1px solid var(--rule); }
thead th { border-top: 0; color: var(--faint); font-weight: 500; }
.n { text-align: right; font-variant-numeric: tabular-nums; }
figure { margin: 0; padding: 12px; background: var(--card); border: 1px solid var(--rule); border-radius: 8px; }
figure svg { display: block; width: 100%; height: 90px; fill: var(--bar); }
.axis { display: flex; justify-content: space-between; border-top: 1px solid var(--faint); color: var(--faint);
  font-size: .8rem; }
figcaption { font-size: .88rem; }
article { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; margin: 0 0 24px;
  padding: 16px; }
article header { margin-bottom: 12px; }
.tags { display: flex; flex-wrap: wrap; gap: 6px; margin: 4px 0; }
.tags span { border: 1px solid var(--rule); border-radius: 99px; padding: 0 10px; font-size: .82rem; }
img { display: block; max-width: 100%; height: auto; background: #fff; border-radius: 6px; }
.scroll { overflow-x: auto; }
.stored { margin-top: 14px; }
.below { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 420px); gap: 24px; margin-top: 8px;
  align-items: start; }
.right { color: var(--right); font-weight: 650; }
.right::before { content: "\\2713\\00a0"; }
details { margin-top: 16px; }
summary { cursor: pointer; color: var(--faint); font-size: .85rem; }
dl { margin: 8px 0 0; font: .82rem/1.45 ui-monospace, monospace; }
dt { color: var(--faint); }
dd { margin: 0 0 10px; white-space: pre-wrap; overflow-wrap: anywhere; }
@media (max-width: 760px) {
  main { padding: 16px 8px 48px; }
  article { padding: 12px 10px; }
  .below { grid-template-columns: minmax(0, 1fr); }
  .strip { min-width: 860px; }
}
</style>
<main>
<h1>$title</h1>
$facts
<div class="panels">$counts</div>
<h2>First two views <span class="faint">$scale</span></h2>
<div class="panels">$spreads</div>
<h2>Scans</h2>
$scans
<h2>What was left out, and why</h2>
<div class="panels">$reasons</div>
<h2>Rows <span class="faint">$shown</span></h2>
<p class="faint">Patches of one colour show the same place in both images: the colour is that of the place in image 1,
and lines join a few of them. Hatched patches have no match: occluded, out of view, on a depth edge, or without a depth
that decides it. In the sketch, black is the route that the actions take from camera 1; it should end at camera 2.</p>
<br>
$cards
</main>
</html>
""")
