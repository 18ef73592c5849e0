"""The style sheet of the page: one constant, no behaviour."""

MOST_TOGGLES = 12  # entities of a query that can be switched off on the page

STYLE = """
:root{color-scheme:light dark;--ground:#f6f7f9;--card:#fff;--ink:#15181d;--soft:#5a6472;--line:#dde1e7;
--well:#eceff3;--link:#0a5fb4;--shade:0 1px 2px rgb(16 24 40/.06),0 4px 14px rgb(16 24 40/.06)}
@media (prefers-color-scheme:dark){:root{--ground:#111419;--card:#1a1f26;--ink:#e9edf2;--soft:#9aa5b3;
--line:#2c333d;--well:#0c0f13;--link:#7db8f0;--shade:none}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","Liberation Sans",sans-serif}
main{max-width:1320px;margin:0 auto;padding:28px 24px 56px}
h1{font-size:1.6rem;line-height:1.25;margin:0 0 4px}
h2{font-size:1.2rem;line-height:1.3;margin:0 0 2px}
.lead{color:var(--soft);margin:0 0 20px;max-width:75ch}
section{margin:0 0 44px;padding-top:24px;border-top:1px solid var(--line)}
h1+section,.lead+section{border-top:0;padding-top:0}
.query{font:600 1.05rem/1.45 ui-monospace,"SF Mono","DejaVu Sans Mono",Menlo,Consolas,monospace;
background:var(--card);border:1px solid var(--line);border-radius:10px;padding:10px 14px;margin:10px 0 12px;
overflow-wrap:anywhere;white-space:pre-wrap}
.facts{color:var(--soft);font-size:.9rem;margin:0 0 12px}
.facts strong{color:var(--ink);font-weight:650}
.notes{color:var(--soft);font-size:.9rem;margin:0 0 12px;padding-left:1.2em}
.asked{display:flex;flex-wrap:wrap;gap:14px;margin:0 0 14px}
.asked figure{margin:0;width:188px}
.heat{margin-top:8px;font-size:.85rem}.heat summary{cursor:pointer;color:var(--soft)}
.heat figure{margin:8px 0 0}.heat img{width:100%;height:auto;border-radius:6px}.heat figcaption{color:var(--soft)}
.asked .photo{aspect-ratio:4/3;border-radius:10px;border:1px solid var(--line)}
.asked figcaption{font-size:.82rem;color:var(--soft);overflow-wrap:anywhere;margin-top:4px}
.toggle{position:absolute;width:1px;height:1px;opacity:0;pointer-events:none}
.legend{display:flex;flex-wrap:wrap;gap:8px;margin:0 0 16px;padding:0;list-style:none}
.legend label{display:inline-flex;align-items:center;gap:8px;padding:5px 13px 5px 6px;border:1px solid var(--line);
border-radius:999px;background:var(--card);cursor:pointer;font-size:.92rem;user-select:none;overflow-wrap:anywhere}
.legend label:hover{border-color:var(--c)}
.not{font-size:.72rem;font-weight:700;text-transform:uppercase;letter-spacing:.04em;color:var(--soft)}
.dot{flex:none;display:inline-grid;place-items:center;width:22px;height:22px;border-radius:50%;
background:var(--c);color:var(--k);font-size:.75rem;font-weight:700;line-height:1}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(290px,1fr));gap:18px;margin:0;padding:0;
list-style:none}
.grid.few{grid-template-columns:minmax(290px,640px)}
.card{background:var(--card);border:1px solid var(--line);border-radius:14px;overflow:hidden;
box-shadow:var(--shade);display:flex;flex-direction:column;min-width:0}
.photo{position:relative;background:var(--well);aspect-ratio:4/3;overflow:hidden}
.photo img,.photo svg{position:absolute;inset:0;width:100%;height:100%;display:block}
.photo img{object-fit:contain}
.gone{position:absolute;inset:0;display:grid;place-items:center;color:var(--soft);font-size:.9rem;padding:16px;
text-align:center}
.mask path{fill:var(--c);fill-opacity:.36;stroke:var(--c);stroke-width:2.5;stroke-linejoin:round;
vector-effect:non-scaling-stroke;fill-rule:evenodd;transition:fill-opacity .12s}
.mask path.halo{fill:none;stroke:#000;stroke-opacity:.55;stroke-width:4.5;pointer-events:none}
.mask.absent path{fill-opacity:.06;stroke-dasharray:3 5;stroke-width:2.5}
.mask.absent path.halo{stroke-opacity:.4;stroke-width:4}
.mask.whole path{fill-opacity:0;stroke-width:5}
.mask.whole path.halo{stroke-width:0}
.mask:hover path{fill-opacity:.62}
.mask:hover path.halo{fill-opacity:0}
.mask text{font-weight:700;fill:var(--k);text-anchor:middle;
dominant-baseline:central;pointer-events:none}
.mask circle{fill:var(--c);stroke:#000;stroke-opacity:.5;stroke-width:1;pointer-events:none}
.mask.absent circle,.mask.absent text{display:none}
.grid .card:hover .photo:has(.mask:hover) .mask:not(:hover) path{fill-opacity:.08}
.text{padding:12px 14px 14px;display:flex;flex-direction:column;gap:7px;min-width:0}
.top{display:flex;align-items:baseline;gap:9px;min-width:0}
.rank{color:var(--soft);font-variant-numeric:tabular-nums;font-weight:600}
.name{font-weight:650;min-width:0;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.folder{color:var(--soft);font-size:.8rem;overflow-wrap:anywhere;line-height:1.35}
.said{font-size:.84rem;line-height:1.4;overflow-wrap:anywhere}
h3{font-size:1rem;margin:28px 0 10px}
.texts{margin:0;padding-left:2em;max-width:80ch;display:grid;gap:14px}
.texts p{margin:0 0 2px;overflow-wrap:anywhere}
mark{background:none;color:inherit;font-weight:650;text-decoration:underline;text-decoration-color:var(--link);
text-decoration-thickness:2px;text-underline-offset:3px}
.relevance{display:flex;align-items:center;gap:10px;font-size:.86rem;color:var(--soft);
font-variant-numeric:tabular-nums;white-space:nowrap}
.bar{flex:1;height:6px;border-radius:3px;background:var(--line);position:relative}
.bar i{display:block;height:100%;background:var(--link);border-radius:3px}
.bar b{position:absolute;top:-4px;bottom:-4px;width:2px;margin-left:-1px;background:var(--ink);border-radius:1px}
.found{margin:0;padding:8px 0 0;border-top:1px solid var(--line);list-style:none;display:grid;gap:5px;
font-size:.87rem}
.found li{display:flex;align-items:center;gap:8px;min-width:0}
.found .dot{width:18px;height:18px;font-size:.68rem}
.found .what{flex:1;min-width:0;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.found .how{color:var(--soft);font-variant-numeric:tabular-nums;white-space:nowrap}
.found .absent .what{color:var(--soft)}
.found .absent .dot{background:none;color:var(--soft);border:1.5px dashed var(--c)}
.tail{grid-column:1/-1;display:flex;align-items:center;gap:14px;color:var(--soft);font-size:.88rem;padding:6px 0}
.tail::before,.tail::after{content:"";flex:1;border-top:1px dashed var(--soft)}
.below .photo,.below .bar i{filter:grayscale(1);opacity:.62;transition:.15s}
.below:hover .photo,.below:hover .bar i{filter:none;opacity:1}
.below:not(:hover) .photo svg{opacity:0}
.below .name{color:var(--soft)}
.empty{color:var(--soft);padding:32px;text-align:center;border:1px dashed var(--line);border-radius:14px;margin:0}
footer{color:var(--soft);font-size:.85rem;border-top:1px solid var(--line);padding-top:14px}
@media (max-width:640px){main{padding:18px 14px 40px}.grid{grid-template-columns:1fr;gap:14px}
h1{font-size:1.35rem}.asked figure{width:calc(50% - 7px)}}
@media (prefers-reduced-motion:reduce){*{transition:none!important}}
@media print{.legend label{border-color:#999}.card{break-inside:avoid;box-shadow:none}}
"""


def toggles() -> str:
    """Rules that hide the masks of an entity whose box is not ticked, and show focus and state in the legend."""
    rules = []
    for n in range(MOST_TOGGLES):
        rules.append(
            f".t{n}:not(:checked)~.grid .m{n}{{display:none}}"
            f".t{n}:not(:checked)~.legend .l{n}{{opacity:.45;text-decoration:line-through}}"
            f".t{n}:focus-visible~.legend .l{n}{{outline:3px solid var(--link);outline-offset:2px}}"
        )
    return "\n".join(rules)
