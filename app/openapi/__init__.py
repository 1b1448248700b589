"""The OpenAPI document: what the routes take and answer, from the same schemas that they use."""
