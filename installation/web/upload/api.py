"""The API described by OpenAPI 3.1, its schemas taken from what is really answered."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field
from pydantic.json_schema import models_json_schema

from installation.config.model import Web
from installation.web.upload.request_body import FIELD
from installation.web.upload.response import ClassifyResponse

API = "/api/classify"


class ErrorResponse(BaseModel):
    """Why a picture got no answer."""

    error: str = Field(description="One sentence")


def describe(limits: Web) -> dict[str, Any]:
    """Return the OpenAPI document of a service with some limits."""
    _, schemas = models_json_schema(
        [(ClassifyResponse, "serialization"), (ErrorResponse, "serialization")],
        ref_template="#/components/schemas/{model}",
    )
    text = {"text/plain": {"schema": {"type": "string"}}}
    binary = {"schema": {"type": "string", "format": "binary"}}
    form = {"type": "object", "properties": {FIELD: binary["schema"]}, "required": [FIELD]}
    retry = {"Retry-After": {"description": "Seconds to wait", "schema": {"type": "integer"}}}
    refusals = {
        "400": "No picture, or not a JPEG, PNG or WebP picture",
        "408": "The picture came too slowly",
        "413": f"More than {limits.size:g} megabytes or {limits.pixels:g} megapixels",
        "415": "Another kind of picture, or another kind of body",
        "422": "The picture is damaged",
        "429": "Too many pictures from one address",
        "500": "Something is wrong here, and in the log",
        "503": "Too many pictures from everybody",
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "The machine behind the mirror",
            "version": "1",
            "description": "The words a neural network has for the people in a picture. They say "
            "something about the people who made its data, and nothing about those in the picture. "
            "Nothing that is sent is kept.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "security": [],
        "paths": {
            API: {
                "post": {
                    "operationId": "classify",
                    "summary": "Find and name the faces in a picture",
                    "parameters": [
                        {
                            "name": "picture",
                            "in": "query",
                            "description": "Whether to return the picture, with boxes and words",
                            "schema": {"type": "boolean", "default": False},
                        }
                    ],
                    "requestBody": {
                        "description": f"At most {limits.size:g} megabytes and "
                        f"{limits.pixels:g} megapixels",
                        "required": True,
                        "content": {
                            "image/jpeg": binary,
                            "image/png": binary,
                            "image/webp": binary,
                            "multipart/form-data": {"schema": form},
                        },
                    },
                    "responses": {
                        "200": {
                            "description": "What was found",
                            "content": _json("Reply"),
                        },
                        **{
                            status: {
                                "description": why,
                                "content": _json("Refusal"),
                                **({"headers": retry} if status in ("429", "503") else {}),
                            }
                            for status, why in refusals.items()
                        },
                    },
                }
            },
            "/healthz": {
                "get": {
                    "operationId": "health",
                    "summary": "Tell a load balancer that pictures are taken",
                    "responses": {
                        "200": {"description": "They are", "content": text},
                        "503": {"description": "They are not, and why", "content": text},
                    },
                }
            },
        },
        "components": {"schemas": schemas["$defs"]},
    }


def _json(schema: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
