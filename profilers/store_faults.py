"""What a database says when it refuses something, and what to do about it."""

from sqlalchemy.exc import SQLAlchemyError

_ELSEWHERE = "Name another store by --store or another folder by --home, that can be written."
_REMEDIES = {
    "not a database": "Name a store of derycc by --store; a file that 'derycc store export' wrote "
    "is read by 'derycc store import'.",
    "malformed": "Move the damaged file away and profile again, or merge an older copy of it.",
    "readonly": _ELSEWHERE,
    "read-only": _ELSEWHERE,
    "full": "Make room on the disk, or name a store on another one by --store.",
    "this derycc knows": "Update derycc.",
    "unable to open": _ELSEWHERE,
    "connection": "Start the server, or name another store by --store.",
}
_ANY = "Name another store by --store, or move a damaged file away and profile again."


def reason(error: BaseException) -> str:
    """What went wrong first: a full disk, say, and not the roll-back that then failed too."""
    first, each = error, error.__context__
    while each is not None:
        first, each = (each if isinstance(each, SQLAlchemyError) else first), each.__context__
    return " ".join(str(getattr(first, "orig", None) or first).split()).rstrip(".?!")


def remedy(reason: str) -> str:
    """What to do about it."""
    return next((what for words, what in _REMEDIES.items() if words in reason), _ANY)
