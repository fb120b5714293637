"""Self-contained HTML: a page without scripts or outside files, its tables, figures, pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape

from PIL import Image

from inference.forms import U8

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:66rem;padding:0 1rem;
color:#1c1c22}h1{font-size:1.6rem;margin-bottom:.3rem}h2{font-size:1.2rem;margin-top:2.4rem;
border-bottom:2px solid #1c1c22;padding-bottom:.2rem}
table{border-collapse:collapse;margin:.7rem 0}td,th{padding:.28rem 1rem .28rem 0;text-align:left;
vertical-align:top;border-bottom:1px solid #ddd;font-variant-numeric:tabular-nums}
th{font-weight:600}td:first-child{font-weight:500}
.warn{background:#fff4e0;border-left:4px solid #d98a00;padding:.6rem .9rem}
.note{color:#555;font-size:.9rem}.key{display:grid;
grid-template-columns:repeat(auto-fit,minmax(11rem,1fr));gap:.8rem;margin:1.2rem 0}
.key div{border:1px solid #ccc;border-radius:6px;padding:.6rem .8rem}.key b{display:block;
font-size:1.5rem;line-height:1.3}.key small{color:#555}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(24rem,1fr));gap:1.4rem}
figure{margin:0 0 1rem}figcaption{font-size:.85rem;color:#444}svg{width:100%;max-width:26rem}
svg.wide{max-width:44rem}svg text{font-size:11px}
svg .x{text-anchor:middle;fill:#444}svg .y{text-anchor:end;fill:#444}
svg .frame{fill:none;stroke:#999}svg .rule{stroke:#eee;fill:none}svg .line{stroke:#b3541e;
stroke-dasharray:4 3}svg polyline{fill:none;stroke-width:1.8}svg .dot{fill:#0b5cab}
svg .range{stroke:#0b5cab;stroke-width:2}svg .ring{fill:none;stroke:#0b5cab;stroke-width:2}
.matrix td,.matrix th{border:1px solid #bbb;padding:.5rem .9rem;text-align:center}
.matrix .right{background:#e6f2e8}.matrix .wrong{background:#fbe9e2}
img{max-width:100%;border:1px solid #ddd}code{font-size:.85em;overflow-wrap:anywhere}
@media print{h2{break-after:avoid}figure,tr{break-inside:avoid}}
"""


def document(title: str, body: str) -> str:
    """Give a whole HTML page around a body."""
    name = escape(title)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{name}</title><style>{_STYLE}</style></head><body><h1>{name}</h1>{body}</body></html>"
    )


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Give an HTML table; every cell is escaped."""
    top = "".join(f"<th>{escape(str(cell))}</th>" for cell in head) if any(head) else ""
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def number(value: float | None, digits: int = 3) -> str:
    """Write a figure; what is undefined is a dash."""
    return "-" if value is None else f"{value:.{digits}f}"


def interval(value: Sequence[float | None], digits: int = 3) -> str:
    """Write an estimate with its interval."""
    middle, low, high = (number(each, digits) for each in value)
    return middle if low == high == "-" else f"{middle} ({low} to {high})"


def data_url(pixels: U8, width: int = 1100) -> str:
    """Give an image as a PNG data URL of at most 64 colours and `width` pixels."""
    image = Image.fromarray(pixels).convert("RGB")
    if image.width > width:
        image = image.resize((width, round(image.height * width / image.width)))
    out = io.BytesIO()
    image.quantize(64).save(out, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()
