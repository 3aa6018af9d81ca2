"""Days in words: what a phrase means, in English, German or French, seen from a given moment.

Weekdays and the ends of weeks and months are read here, by rules that are written down below; all
else by dateparser, which knows many languages but not "next Friday" or "end of the month", and takes
"on the 3rd" for a month. What names no single day is refused, not guessed at.

- "Friday", "this Friday", "on Friday": the first Friday from today on; on a Friday, today.
- "coming Friday", "kommenden Freitag", "vendredi prochain": the first Friday after today.
- "next Friday", "nächsten Freitag", "Friday next week", "vendredi de la semaine prochaine": the
  Friday of the next week. People differ on this, so the interpretation names the coming one, too.
- "last Friday", "letzten Freitag", "vendredi dernier": the last one before today.
- Weeks begin on Monday. The end of a week is its Friday; on a Saturday or Sunday, "the end of the
  week" is that Sunday.
- "the 3rd", "am 3.", "le 3": the first such day from today on.
"""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from dateparser.date import DateData, DateDataParser


class Unreadable(ValueError):
    """The phrase names no day, or more than one; says which."""


@dataclass(frozen=True)
class Day:
    """A day, and how the phrase was understood."""

    date: date
    interpretation: str


_NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_WEEKDAYS = {
    "en": "mon(?:day)?|tue(?:sday)?|wed(?:nesday)?|thu(?:rsday)?|fri(?:day)?|sat(?:urday)?|sun(?:day)?",
    "de": "montag|dienstag|mittwoch|donnerstag|freitag|samstag|sonntag",
    "fr": "lundi|mardi|mercredi|jeudi|vendredi|samedi|dimanche",
}
# The beginnings of Monday's names, and so on.
_BEGINNINGS = {
    "en": ("mo", "tu", "we", "th", "fr", "sa", "su"),
    "de": ("mo", "di", "mi", "do", "fr", "sa", "so"),
    "fr": ("lu", "ma", "me", "je", "ve", "sa", "di"),
}
# What comes before a day and does not change it. "Before" and "after" do, and are refused, but
# "before the end" is by the end.
_LEADING = {
    "en": r"(?:(?:by|until|till|on|at|due|no later than|before (?=(?:the )?end))\s*)*",
    "de": r"(?:(?:bis|spätestens|zum|am|an|vor (?=(?:dem )?ende|\w+ende)|dem (?=ende))\s*)*",
    "fr": r"(?:(?:d'ici|jusqu'(?:au?|à)|pour|au plus tard|avant (?=(?:la )?fin)|au|à)\s*)*",
}
_OTHER_SIDE = re.compile(
    r"^(?:before (?!(?:the )?end)|after |since |vor (?!(?:dem )?ende|\w+ende)|nach |seit "
    r"|avant (?!(?:la )?fin)|après |depuis )|\b(?:between|zwischen|entre)\b"
)
# And after it: the time of that day.
_TRAILING = {
    "en": r",? (?:morning|afternoon|evening|night|noon|(?:at )?\d{1,2}(?:[:.]\d\d)? ?(?:am|pm)?|at noon)$",
    "de": r",? (?:früh|vormittag|mittag|nachmittag|abend|(?:um )?\d{1,2}(?:[:.]\d\d)? uhr)$",
    "fr": r",? (?:matin|midi|après-midi|soir|à \d{1,2} ?h(?:\d\d)?)$",
}

# By language: how each kind of phrase is said. {day} is a weekday.
_THIS, _COMING, _NEXT, _LAST = "this", "coming", "next", "last"
_SAID = {
    "en": [
        (_NEXT, r"next {day}"),
        (_NEXT, r"{day} (?:of )?next week"),
        (_NEXT, r"next week(?: on|'s)? {day}"),
        (_COMING, r"(?:the )?(?:coming|upcoming|following) {day}"),
        (_LAST, r"(?:last|past|previous) {day}"),
        (_THIS, r"(?:this )?{day}(?: this week)?"),
    ],
    "de": [
        (_NEXT, r"(?:dem |den )?nächste[rnm]? {day}"),
        (_NEXT, r"{day} (?:der )?nächste[rn]? woche"),
        (_NEXT, r"nächste woche(?: am)? {day}"),
        (_COMING, r"(?:dem |den )?(?:kommende[rnm]?|folgende[rnm]?) {day}"),
        (_LAST, r"(?:letzte[rnm]?|vergangene[rnm]?|vorige[rnm]?) {day}"),
        (_THIS, r"(?:diese[rnm]? )?{day}(?: diese[r]? woche)?"),
    ],
    "fr": [
        (_NEXT, r"(?:le )?{day} (?:de )?la semaine prochaine"),
        (_NEXT, r"la semaine prochaine,? {day}"),
        (_NEXT, r"{day} en huit"),
        (_COMING, r"(?:le )?{day} (?:prochain|qui vient|suivant)"),
        (_LAST, r"(?:le )?{day} (?:dernier|passé)"),
        (_THIS, r"(?:ce |le )?{day}"),
    ],
}
_END = {
    "en": r"(?:the )?end of (?:the |this )?(?P<next>next )?(?P<unit>week|month|year)|eo(?P<short>[wmy])",
    "de": r"(?:das )?ende (?:de[sr] |diese[sr] )?(?P<next>nächste[nrs] )?(?P<unit>woche|monats|jahres)"
    r"|(?P<short>wochen|monats|jahres)ende",
    "fr": r"(?:la )?fin (?:de |du |de la |de l'|de cette |de ce )?(?P<unit>semaine|mois|année)"
    r"(?P<next> prochaine?)?",
}
_ORDINAL = {
    "en": r"(?:the )?(?P<day>\d{1,2})(?:st|nd|rd|th)",
    "de": r"(?:den |dem )?(?P<day>\d{1,2})\.",
    "fr": r"le (?P<day>\d{1,2})(?:er)?",
}
_TODAY = {
    "en": r"today|tonight|(?:the )?end of (?:the )?day|eod|(?:the )?close of business|cob",
    "de": r"heute(?: abend)?|feierabend",
    "fr": r"aujourd'hui|ce soir|(?:la )?fin de (?:la )?journée",
}
# So many months are a day, as it is one in so many weeks.
_IN_MONTHS = re.compile(r"^(?:in|dans) .*(?:months?|monat(?:en)?|mois|years?|jahr(?:en)?|ans?)$")
_VAGUE = {
    "en": r"(?P<which>this|next|last) (?P<unit>week|month|year)",
    "de": r"(?:in der |im )?(?P<which>diese[rsnm]?|nächste[rsnm]?|letzte[rsnm]?) (?P<unit>woche|monat|jahr)",
    "fr": r"(?:la |le |l'|cette |ce )(?P<unit>semaine|mois|année)(?P<which> prochaine?| dernière?)?",
}


def read(phrase: str, now: datetime, locale: str = "") -> Day:
    """The day that the phrase names, for a user who speaks this language (BCP 47) at this moment.

    The user's language is tried first, then English, German and French. Unreadable says what is wrong.
    """
    said = re.sub(r"\s+", " ", phrase.replace("\u2019", "'")).strip(" .!?,;:\"“”„'").lower()
    # "am 3." keeps its point.
    if re.search(r"\d\.\W*$", phrase):
        said += "."
    if not said:
        raise Unreadable("the phrase is empty")
    if _OTHER_SIDE.search(said):
        raise Unreadable("the phrase says when a day is over or has not come, not which day is meant")
    # A year in front leaves no doubt about the rest, whatever the region.
    if found := re.fullmatch(r"(?:by |on |bis |am |le )?(\d{4})-(\d\d)-(\d\d)", said):
        try:
            return Day(date(*map(int, found.groups())), "a date in figures")
        except ValueError:
            raise Unreadable("there is no such date") from None
    language, _, region = locale.replace("_", "-").partition("-")
    language = language.lower()
    languages = list(dict.fromkeys(it for it in (language, "en", "de", "fr") if it))
    for one in languages:
        if one in _SAID and (day := _by_rules(said, now.date(), one)):
            return day
    for one in languages:
        if day := _by_dateparser(said, now, one, region if one == language else ""):
            _refuse_contradiction(said, day.date)
            return day
    raise Unreadable("no day could be read from the phrase")


def _by_rules(said: str, today: date, language: str) -> Day | None:
    said = _bare(said, language)
    if re.fullmatch(_TODAY[language], said):
        return Day(today, "today")
    timeless = re.sub(_TRAILING[language], "", said)
    for kind, pattern in _SAID[language]:
        pattern = pattern.replace("{day}", f"(?P<day>{_WEEKDAYS[language]})")
        if found := re.fullmatch(pattern, timeless):
            weekday = _BEGINNINGS[language].index(found["day"][:2])
            return _weekday(kind, weekday, today)
    if found := re.fullmatch(_END[language], said):
        groups = found.groupdict()
        unit = (groups.get("unit") or groups.get("short") or "")[0]
        return _end(unit, bool(groups.get("next")), today)
    if found := re.fullmatch(_ORDINAL[language], said):
        return _ordinal(int(found["day"]), today)
    if found := re.fullmatch(_VAGUE[language], said):
        _refuse_vague(found["unit"], found["which"] or "", today)
    return None


def _bare(said: str, language: str) -> str:
    if language not in _LEADING:
        return said
    # At the beginning of words only: "am" is not in "amazing".
    matched = re.match(rf"{_LEADING[language]}(?<![a-zäöü])", said)
    return said[matched.end() :] if matched else said


def _weekday(kind: str, weekday: int, today: date) -> Day:
    name = _NAMES[weekday]
    ahead = (weekday - today.weekday()) % 7
    coming = today + timedelta(days=ahead or 7)
    if kind == _THIS:
        if ahead == 0:
            text = f"{name} is today; the next one after it is {coming}"
            return Day(today, text)
        return Day(coming, f"the first {name} after today, {today}")
    if kind == _COMING:
        return Day(coming, f"the first {name} after today, {today}")
    if kind == _LAST:
        behind = (today.weekday() - weekday) % 7
        return Day(today - timedelta(days=behind or 7), f"the last {name} before today, {today}")
    monday = today - timedelta(days=today.weekday()) + timedelta(days=7)
    day = monday + timedelta(days=weekday)
    text = f"{name} of next week, for weeks begin on Monday"
    if day != coming:
        text += f"; some mean the coming {name}, {coming}"
    return Day(day, text)


def _end(unit: str, is_next: bool, today: date) -> Day:
    if unit in "ws":
        monday = today - timedelta(days=today.weekday()) + timedelta(days=7 * is_next)
        if not is_next and today.weekday() > 4:
            return Day(
                monday + timedelta(days=6), "the end of this week, which ends today or tomorrow: Sunday"
            )
        which = "next" if is_next else "this"
        return Day(monday + timedelta(days=4), f"the end of {which} week: its Friday")
    if unit == "m":
        months = today.year * 12 + today.month - 1 + is_next
        year, month = divmod(months, 12)
        last = calendar.monthrange(year, month + 1)[1]
        return Day(date(year, month + 1, last), "the last day of the month")
    return Day(date(today.year + is_next, 12, 31), "the last day of the year")


def _ordinal(day: int, today: date) -> Day:
    for months in range(13):
        year, month = divmod(today.year * 12 + today.month - 1 + months, 12)
        if 1 <= day <= calendar.monthrange(year, month + 1)[1]:
            found = date(year, month + 1, day)
            if found >= today:
                return Day(found, f"the first day {day} of a month from today, {today}, on")
    raise Unreadable(f"no month has a day {day}")


def _refuse_vague(unit: str, which: str, today: date) -> None:
    if unit[0] in "ws":
        ahead = 1 if re.match(r"next|nächste| prochain", which) else 0
        ahead = -1 if re.match(r"last|letzte| derni", which) else ahead
        monday = today - timedelta(days=today.weekday()) + timedelta(days=7 * ahead)
        sunday = monday + timedelta(days=6)
        raise Unreadable(f"the phrase names a week, {monday} to {sunday}, not a day")
    raise Unreadable(f"the phrase names a {'month' if unit[0] == 'm' else 'year'}, not a day")


def _refuse_contradiction(said: str, day: date) -> None:
    for language, names in _WEEKDAYS.items():
        if found := re.search(rf"\b(?:{names})\b", said):
            weekday = _BEGINNINGS[language].index(found[0][:2])
            if weekday != day.weekday():
                is_one = _NAMES[day.weekday()]
                raise Unreadable(f"the phrase says {_NAMES[weekday]}, but {day} is a {is_one}")


def _by_dateparser(said: str, now: datetime, language: str, region: str) -> Day | None:
    said = re.sub(r"^within ", "in ", _bare(said, language))
    # Only what is said may count: what is left out is filled in once with the first, once with the last.
    fills = ("current",) if _IN_MONTHS.search(said) else ("first", "last")
    found = [_parsed(said, now, language, region, fill) for fill in fills]
    days = {one.date_obj.date() for one in found if one is not None}
    if not days:
        return None
    period = found[0].period if found[0] is not None else "day"
    if len(days) > 1:
        of = f"a {period}" if period in ("week", "month", "year") else "a time"
        raise Unreadable(f"the phrase names {of}, not a day")
    text = f"read as a date in {language!r}, seen from {now.date()}"
    if period == "week" and language not in _VAGUE:
        text += "; it may be the week that is meant, not the day"
    return Day(days.pop(), text)


def _parsed(said: str, now: datetime, language: str, region: str, fill: str) -> DateData | None:
    settings = {
        "RELATIVE_BASE": now.replace(tzinfo=None),
        "PREFER_DATES_FROM": "future",
        "PREFER_DAY_OF_MONTH": fill,
        "PREFER_MONTH_OF_YEAR": fill,
        "RETURN_AS_TIMEZONE_AWARE": False,
        "PARSERS": ["relative-time", "custom-formats", "absolute-time"],
    }
    # Not every language has every region, and it raises ValueError for what it does not know.
    for of in dict.fromkeys((region.upper() or None, None)):
        try:
            found = DateDataParser(languages=[language], region=of, settings=settings).get_date_data(said)
        except ValueError:
            continue
        if found.date_obj is not None:
            return found
    return None
