"""The examples do what they say."""

import os
from datetime import date, datetime, timezone

import pytest
from fake_server import call as asked
from fake_server import from_value

from proactive_worker import ToolError, ValueProblem
from proactive_worker._generated import workers_pb2 as pb
from proactive_worker.examples import search
from proactive_worker.testing import call

pytestmark = pytest.mark.asyncio

# A Wednesday, 15:00 in Berlin.
NOW = datetime(2026, 11, 18, 14, 0, tzinfo=timezone.utc)


@pytest.fixture
def dates():
    pytest.importorskip("dateparser", reason="SKIPPED: dateparser is not installed")
    from proactive_worker.examples.dates import worker

    return worker


@pytest.mark.parametrize(
    ("locale", "phrase", "day"),
    [
        ("en-US", "next Friday", "2026-11-27"),
        ("en-US", "by next Friday", "2026-11-27"),
        ("en-US", "Friday next week", "2026-11-27"),
        ("en-US", "Friday", "2026-11-20"),
        ("en-US", "this Friday", "2026-11-20"),
        ("en-US", "by Friday at 5pm", "2026-11-20"),
        ("en-US", "last Friday", "2026-11-13"),
        ("en-US", "last Wednesday", "2026-11-11"),
        ("en-US", "Wednesday", "2026-11-18"),
        ("en-US", "coming Wednesday", "2026-11-25"),
        ("en-US", "next Wednesday", "2026-11-25"),
        ("en-US", "tomorrow", "2026-11-19"),
        ("en-US", "in two weeks", "2026-12-02"),
        ("en-US", "within 3 days", "2026-11-21"),
        ("en-US", "in two months", "2027-01-18"),
        ("en-US", "end of the month", "2026-11-30"),
        ("en-US", "before the end of next month", "2026-12-31"),
        ("en-US", "EOW", "2026-11-20"),
        ("en-US", "on the 3rd", "2026-12-03"),
        ("en-US", "the 31st", "2026-12-31"),
        ("en-US", "March 3", "2027-03-03"),
        ("en-US", "3/4", "2027-03-04"),
        ("en-GB", "3/4", "2027-04-03"),
        ("en-GB", "2026-12-01", "2026-12-01"),
        ("de-DE", "bis 2026-12-01", "2026-12-01"),
        ("de-DE", "übermorgen", "2026-11-20"),
        ("de-DE", "bis nächsten Freitag", "2026-11-27"),
        ("de-DE", "am Freitag", "2026-11-20"),
        ("de-DE", "kommenden Montag", "2026-11-23"),
        ("de-DE", "in 14 Tagen", "2026-12-02"),
        ("de-DE", "Ende des Monats", "2026-11-30"),
        ("de-DE", "bis zum 3. März", "2027-03-03"),
        ("de-DE", "am 3.", "2026-12-03"),
        ("de-DE", "next Friday", "2026-11-27"),
        ("fr-FR", "le 3 mars", "2027-03-03"),
        ("fr-FR", "vendredi prochain", "2026-11-20"),
        ("fr-FR", "vendredi de la semaine prochaine", "2026-11-27"),
        ("fr-FR", "d\u2019ici la fin du mois", "2026-11-30"),
        ("fr-FR", "après-demain", "2026-11-20"),
        ("ja-JP", "明日", "2026-11-19"),
        ("", "übermorgen", "2026-11-20"),
        ("xx", "le 3 mars", "2027-03-03"),
    ],
)
async def test_a_phrase_is_a_day(dates, locale, phrase, day):
    about = {"locale": locale, "time_zone": "Europe/Berlin", "now": NOW}
    resolved = await call(dates, "resolve_date", {"phrase": phrase}, **about)
    assert resolved["date"] == day, resolved
    assert resolved["weekday"] == f"{date.fromisoformat(day):%A}"
    assert resolved["interpretation"]


async def test_what_people_differ_on_is_said(dates):
    resolved = await call(dates, "resolve_date", {"phrase": "next Friday"}, locale="en-US", now=NOW)
    said = "Friday of next week, for weeks begin on Monday; some mean the coming Friday, 2026-11-20"
    assert resolved == {"date": "2026-11-27", "weekday": "Friday", "interpretation": said}


@pytest.mark.parametrize(
    ("now", "zone", "phrase", "day"),
    [
        # Late on the 18th here is the 19th there.
        ("2026-11-18T23:30", "UTC", "tomorrow", "2026-11-19"),
        ("2026-11-18T23:30", "Asia/Tokyo", "tomorrow", "2026-11-20"),
        ("2026-11-18T23:30", "America/Los_Angeles", "today", "2026-11-18"),
        # Across the end of a year, and of a short month.
        ("2026-12-31T12:00", "UTC", "tomorrow", "2027-01-01"),
        ("2026-12-30T12:00", "UTC", "next Friday", "2027-01-08"),
        ("2027-02-10T12:00", "UTC", "end of the month", "2027-02-28"),
        ("2027-02-10T12:00", "UTC", "the 30th", "2027-03-30"),
        # At the edges of a week.
        ("2026-11-22T12:00", "UTC", "next Monday", "2026-11-23"),
        ("2026-11-22T12:00", "UTC", "end of the week", "2026-11-22"),
        ("2026-11-23T12:00", "UTC", "next Monday", "2026-11-30"),
        # The clock goes back that night.
        ("2026-10-24T22:30", "Europe/Berlin", "tomorrow", "2026-10-26"),
    ],
)
async def test_a_phrase_is_seen_from_the_users_day(dates, now, zone, phrase, day):
    now = datetime.fromisoformat(now).replace(tzinfo=timezone.utc)
    about = {"locale": "en", "time_zone": zone, "now": now}
    assert (await call(dates, "resolve_date", {"phrase": phrase}, **about))["date"] == day


@pytest.mark.parametrize(
    ("phrase", "told"),
    [
        ("next week", "names a week, 2026-11-23 to 2026-11-29, not a day"),
        ("next month", "names a month, not a day"),
        ("March 2027", "names a month, not a day"),
        ("2027", "names a year, not a day"),
        ("5pm", "names a time, not a day"),
        ("before Friday", "not which day is meant"),
        ("Friday, 21 November", "says Friday, but 2026-11-21 is a Saturday"),
        ("the 32nd", "no month has a day 32"),
        ("as soon as possible", "no day could be read"),
        ("Feb 30", "no day could be read"),
        ("2026-02-30", "no such date"),
        (" . ", "the phrase is empty"),
    ],
)
async def test_what_names_no_day_is_refused_and_not_guessed(dates, phrase, told):
    with pytest.raises(ToolError) as raised:
        await call(dates, "resolve_date", {"phrase": phrase}, locale="en-US", now=NOW)
    assert told in raised.value.message


async def test_a_phrase_is_bounded(dates):
    with pytest.raises(ValueProblem, match="100 characters or shorter"):
        await call(dates, "resolve_date", {"phrase": "x" * 101})


async def test_dates_are_resolved_for_a_server(dates, connect):
    talk = await connect(dates)
    (tool,) = talk.hello.tools
    assert "inferred_deadline" in tool.description
    about = {"locale": "de-DE", "time_zone": "Europe/Berlin"}
    answer = await talk.result(asked("resolve_date", {"phrase": "übermorgen"}, **about))
    assert answer["date"] == "2026-11-20"
    failure = await talk.result(asked("resolve_date", {"phrase": "irgendwann"}, **about))
    assert (failure.code, failure.message) == (3, "no day could be read from the phrase")


@pytest.fixture
def folder(tmp_path):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    (inside / "deep").mkdir(parents=True)
    outside.mkdir()
    (outside / "secret.txt").write_text("the lease, secret\n")
    (inside / "a.txt").write_text("nothing\nThe LEASE of Berlin\n")
    (inside / "deep" / "b.md").write_text("x" * 500 + " lease " + "y" * 500)
    (inside / ".hidden").write_text("lease")
    (inside / "binary").write_bytes(b"lease\0")
    (inside / "latin.txt").write_bytes("Straße lease".encode("latin-1"))
    (inside / "large.txt").write_bytes(b"lease\n" * 200_000)
    (inside / "link.txt").symlink_to(outside / "secret.txt")
    (inside / "linked").symlink_to(outside)
    os.mkfifo(inside / "pipe")
    return inside


async def test_a_search_finds_lines_and_stays_in_its_folder(folder):
    found = await call(search.worker_for(folder), "search_text", {"query": "lease"})
    assert [(it["file"], it["line"]) for it in found] == [
        ("a.txt", 2),
        ("latin.txt", 1),
        ("deep/b.md", 1),
    ]
    assert found[0]["text"] == "The LEASE of Berlin"
    assert "lease" in found[2]["text"]
    assert len(found[2]["text"]) <= search.MOST_TEXT


async def test_a_search_is_bounded(folder, monkeypatch):
    worker = search.worker_for(folder)
    assert len(await call(worker, "search_text", {"query": "e", "limit": 2})) == 2
    with pytest.raises(ValueProblem, match="limit must be 200 or less"):
        await call(worker, "search_text", {"query": "e", "limit": 201})
    monkeypatch.setattr(search, "MOST_FILES", 1)
    assert {it["file"] for it in await call(worker, "search_text", {"query": "e"})} == {"a.txt"}


async def test_a_search_streams_to_a_server(folder, connect):
    talk = await connect(search.worker_for(folder))
    one = asked("search_text", {"query": "lease"})
    talk.tell(execute_streaming=pb.ExecuteStreamingTool(call=one, credit=1))
    first = from_value((await talk.hear("chunk", one.call_id)).value)
    assert first == {"file": "a.txt", "line": 2, "text": "The LEASE of Berlin"}
    talk.tell(credit=pb.CallCredit(call_id=one.call_id, more=10))
    await talk.hear("result", one.call_id)
