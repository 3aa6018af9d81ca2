"""Where Google's own client would send a request on Vertex AI, one URL a line.

    vertex_url.py PROJECT MODEL LOCATION...
"""

import sys

from google import genai
from google.oauth2.credentials import Credentials

project, model, *locations = sys.argv[1:]
path = f"publishers/google/models/{model}:generateContent"
for location in locations:
    client = genai.Client(
        vertexai=True,
        project=project,
        location=location,
        credentials=Credentials(token="a-token"),
    )
    # Private, and pinned with the SDK: nothing is sent.
    print(client._api_client._build_request("post", path, {}).url)
