"""Asks firebase-admin what it thinks of a table of tokens.

Usage: verify_tokens.py TABLE. TABLE is a JSON file {project, keys_url, now,
clock_skew, tokens: [...]}; the verdicts go to standard output as a JSON list,
one for each token: null if it was accepted, else the name of the exception.
With FIREBASE_AUTH_EMULATOR_HOST set, firebase-admin is in emulator mode.
"""

import datetime
import json
import sys

import firebase_admin
from firebase_admin import _token_gen, auth, credentials
from google.auth import _helpers
from google.auth.credentials import AnonymousCredentials


class Nobody(credentials.Base):
    """firebase-admin wants credentials even where it does not use them."""

    def get_credential(self):
        return AnonymousCredentials()


def verdict(token, skew):
    try:
        auth.verify_id_token(token, clock_skew_seconds=skew)
    except auth.CertificateFetchError:
        # Not an opinion about the token: the test is broken.
        raise
    # A token may also make it stumble (TypeError and the like): no entry either.
    except Exception as error:  # pylint: disable=broad-except
        return type(error).__name__
    return None


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        table = json.load(file)
    now = datetime.datetime.fromtimestamp(table["now"], datetime.timezone.utc)
    _helpers.utcnow = lambda: now.replace(tzinfo=None)
    _token_gen.ID_TOKEN_CERT_URI = table["keys_url"]
    firebase_admin.initialize_app(Nobody(), {"projectId": table["project"]})
    verdicts = [verdict(token, table["clock_skew"]) for token in table["tokens"]]
    json.dump(verdicts, sys.stdout)


if __name__ == "__main__":
    main()
