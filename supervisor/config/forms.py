"""The forms of the texts among the settings: as patterns, and in words."""

from __future__ import annotations

from typing import Final

APP: Final = r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*"
APP_FORM: Final = "module:attribute, as in shop:app"

NAME: Final = "[a-z0-9-]{1,32}"
NAME_FORM: Final = "1 to 32 of a-z, 0-9 and -"

HTTP_HOST: Final = r"[0-9A-Za-z.:-]{1,253}"
HTTP_HOST_FORM: Final = "a name or an address, without a port"

SINGLETON: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
SINGLETON_FORM: Final = "1 to 64 letters, digits, '.', '_' or '-', beginning with a letter or digit"

QUEUE: Final = r"\S{1,128}"
QUEUE_FORM: Final = "the name of a queue"

# `SELECT order.enqueue(…)` would be a syntax error: the words that pg_get_keywords() lists as R and T, up to
# PostgreSQL 18. Schemas of which the name begins with pg_ are PostgreSQL's own.
RESERVED: Final = """
    all analyse analyze and any array as asc asymmetric authorization binary both case cast check collate collation
    column concurrently constraint create cross current_catalog current_date current_role current_schema current_time
    current_timestamp current_user default deferrable desc distinct do else end except false fetch for foreign freeze
    from full grant group having ilike in initially inner intersect into is isnull join lateral leading left like limit
    localtime localtimestamp natural not notnull null offset on only or order outer overlaps placing primary references
    returning right select session_user similar some symmetric system_user table tablesample then to trailing true union
    unique user using variadic verbose when where window with information_schema
"""
# 40, so that a channel or an index with the schema's name in it stays below PostgreSQL's limit of 63.
SCHEMA: Final = rf"(?!pg_|(?:{'|'.join(RESERVED.split())})\Z)[a-z_][a-z0-9_]{{0,39}}"
SCHEMA_FORM: Final = "1 to 40 of a-z, 0-9 and _, the first not a digit, and no word of SQL such as order"

_HOST: Final = r"(?:[^\s:,/?#@\[\]]*|\[[0-9A-Fa-f:.]+(?:%[^\s\]]+)?\])(?::\d{1,5})?"
_OPTION: Final = r"[^\s=&#]+=[^\s&#]*"
# What of a password is not written as %XX would be taken for the end of the host, or of the URL.
DATABASE_URL: Final = (
    rf"postgres(?:ql)?://(?:[^\s/?#@]*@)?{_HOST}(?:,{_HOST})*(?:/[^\s/?#@]*)?(?:\?(?:{_OPTION}(?:&{_OPTION})*)?)?"
)
DATABASE_URL_FORM: Final = "postgresql://user:password@host:port/database, special characters written as %XX"
