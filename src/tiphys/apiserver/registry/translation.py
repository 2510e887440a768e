"""Records of a kind that was made at run time, in the version that a request is about.

What is made of a record is kept with it, for as long as the same `Reading` is asked: so a webhook sees each state of an object once
a version, however many lists and watches show it. Kinds without a `reading` pass through untouched.
"""

from __future__ import annotations

from collections.abc import Sequence

from tiphys.api.resource import Reading, Resource
from tiphys.apiserver.cache import Event
from tiphys.apiserver.records import Record


def translated(row: Resource, record: Record) -> Record | None:
    """A record in the version of a row; None when that must be asked for (`translate`)."""
    reading = row.reading
    if reading is None:
        return record
    known = record.readings.get(row.version) if record.readings else None
    if known is not None and known[0] is reading:
        return known[1] or record
    source = record.copy()
    obj = reading.read(source)
    if obj is None:
        return None
    return _keep(row, reading, record, None if obj is source else record.become(obj))


def all_translated(row: Resource, records: Sequence[Record]) -> Sequence[Record] | None:
    """As `translated`; None when that is the answer for any of them."""
    if row.reading is None:
        return records
    found: list[Record] = []
    for record in records:
        made = translated(row, record)
        if made is None:
            return None
        found.append(made)
    return found


async def translate(row: Resource, records: Sequence[Record]) -> list[Record]:
    """Records in the version of a row, those that a webhook must convert in one question. Raises StatusError."""
    found = [translated(row, record) for record in records]
    missing = [at for at, made in enumerate(found) if made is None]
    if missing:
        reading = row.reading
        assert reading is not None
        objects = await reading.convert([records[at].states()[1] for at in missing])
        for at, obj in zip(missing, objects, strict=True):
            found[at] = _keep(row, reading, records[at], records[at].become(obj))
    return [made for made in found if made is not None]


async def translate_one(row: Resource, record: Record) -> Record:
    made = translated(row, record)
    return made if made is not None else (await translate(row, [record]))[0]


def _keep(row: Resource, reading: Reading, record: Record, data: bytes | None) -> Record:
    """The record with these bytes, kept with the one that it was read from. None: the same record."""
    made = None
    if data is not None and data != record.data:
        made = Record(record.key, record.namespace, record.name, record.revision, data)
    if record.readings is None:
        record.readings = {}
    record.readings[row.version] = (reading, made)
    return made or record


def translated_event(row: Resource, event: Event) -> Event | None:
    """An event of the store as watches of one version see it, made once for all of them; None: `translate_event`."""
    known = event.frames.get(row.reading)
    if known is not None:
        found: Event = known
        return found
    record = translated(row, event.record)
    previous = translated(row, event.previous) if event.previous is not None else None
    if record is None or (previous is None and event.previous is not None):
        return None
    made = event.frames[row.reading] = Event(event.type, record, previous, event.revision, event.at)
    return made


async def translate_events(row: Resource, events: Sequence[Event]) -> list[Event]:
    """As `translated_event`, with one question for all that is not known yet. Raises StatusError."""
    states = [state for event in events for state in (event.record, event.previous) if state is not None]
    await translate(row, states)
    made = [translated_event(row, event) for event in events]
    return [event for event in made if event is not None]
