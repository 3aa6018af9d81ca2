"""What protoc made of proto/proactive/workers/v1/workers.proto; see README.md here."""
