"""HL7 table 0211 (alternate character sets, MSH-18) to Python codecs."""

from __future__ import annotations

_CODECS = {
    "ASCII": "ascii",
    "UNICODE": "utf-8",
    "UNICODE UTF-8": "utf-8",
    "UTF-8": "utf-8",
    "UTF8": "utf-8",
    "ISO IR192": "utf-8",
    "ISO IR6": "ascii",
    "ISO IR13": "shift_jis",
    "ISO IR14": "iso2022_jp_ext",
    "ISO IR87": "iso2022_jp_ext",
    "ISO IR159": "iso2022_jp_ext",
    "GB 18030-2000": "gb18030",
    "KS X 1001": "euc_kr",
    "BIG-5": "big5",
    "WINDOWS-1252": "cp1252",
    "CP1252": "cp1252",
}
_CODECS |= {f"8859/{part}": f"iso8859_{part}" for part in (*range(1, 12), *range(13, 17))}
_CODECS |= {f"ISO-8859-{part}": f"iso8859_{part}" for part in (*range(1, 12), *range(13, 17))}
_SWITCHING = "iso2022_jp_ext"


def codec_for(charset: str) -> tuple[str, tuple[str, ...]]:
    """Give the codec of MSH-18, and notes on what was guessed.

    Nothing declared is read as UTF-8: HL7's default is ASCII, of which it is a superset, and text
    in another 8-bit set does not pass for it. An unknown name is read as ASCII, in which every
    set agrees, so that any other byte is refused. A repeated MSH-18 is a set and those it switches
    to by ISO 2022 escape sequences.

    Args:
        charset: MSH-18, repetitions separated by `~`.
    """
    names = [name.strip().upper().replace("_", " ") for name in charset.split("~")]
    codecs = [_CODECS.get(name) for name in names if name]
    if not codecs:
        return "utf-8", ()
    if None in codecs:
        return "ascii", ("an unknown character set in MSH-18; read as ASCII",)
    if _SWITCHING in codecs:
        return _SWITCHING, ()
    if codecs[0] == "ascii":
        return (next((codec for codec in codecs if codec and codec != "ascii"), "ascii")), ()
    return codecs[0] or "ascii", ()
