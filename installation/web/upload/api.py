"""The OpenAPI 3.1 description of the API, with schemas generated from its response models."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import models_json_schema

from installation.config.model import Web
from installation.web.upload.request_body import FIELD
from installation.web.upload.schemas import ClassifyResponse, ErrorResponse

CLASSIFY_PATH = "/api/classify"
# Of images that are accepted; what a sender declares does not matter.
_TYPES = ("image/jpeg", "image/png", "image/webp", "image/heic")


def describe(limits: Web) -> dict[str, Any]:
    """Return the OpenAPI document of a service with these limits."""
    _, schemas = models_json_schema(
        [(ClassifyResponse, "serialization"), (ErrorResponse, "serialization")],
        ref_template="#/components/schemas/{model}",
    )
    text = {"text/plain": {"schema": {"type": "string"}}}
    binary = {"schema": {"type": "string", "format": "binary"}}
    form = {"type": "object", "properties": {FIELD: binary["schema"]}, "required": [FIELD]}
    retry = {
        "Retry-After": {
            "description": "Seconds to wait before trying again",
            "schema": {"type": "integer"},
        }
    }
    errors = {
        "400": "No image, or not a JPEG, PNG or WebP image; or an invalid parameter",
        "408": "The image arrived too slowly",
        "413": f"More than {limits.max_upload_mb:g} megabytes or {limits.max_megapixels:g} "
        "megapixels",
        "415": "Unsupported image format or content type",
        "422": "The image is damaged",
        "429": "Too many images from one address",
        "500": "Internal error; details are in the server's log",
        "503": "Too many images from all addresses, or no result in time",
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "The machine behind the mirror",
            "version": "1",
            "description": "Returns the words that a neural network has for the people in an "
            "image. They say something about the people who made its training data, and nothing "
            "about the people in the image. Nothing you send is stored.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "security": [],
        "paths": {
            CLASSIFY_PATH: {
                "post": {
                    "operationId": "classify",
                    "summary": "Find the faces in an image and give each a word",
                    "parameters": [
                        {
                            "name": "picture",
                            "in": "query",
                            "description": "Whether to return the image with boxes and words",
                            "schema": {"type": "boolean", "default": False},
                        }
                    ],
                    "requestBody": {
                        "description": f"An image of at most {limits.max_upload_mb:g} megabytes "
                        f"and {limits.max_megapixels:g} megapixels",
                        "required": True,
                        "content": {
                            **dict.fromkeys(_TYPES, binary),
                            "multipart/form-data": {
                                "schema": form,
                                "encoding": {FIELD: {"contentType": ", ".join(_TYPES)}},
                            },
                        },
                    },
                    "responses": {
                        "200": {
                            "description": "Faces and words",
                            "content": _json(ClassifyResponse.__name__),
                        },
                        **{
                            status: {
                                "description": reason,
                                "content": _json(ErrorResponse.__name__),
                                **({"headers": retry} if status in ("429", "503") else {}),
                            }
                            for status, reason in errors.items()
                        },
                    },
                }
            },
            "/healthz": {
                "get": {
                    "operationId": "health",
                    "summary": "Tell a load balancer whether images are accepted",
                    "responses": {
                        "200": {"description": "Images are accepted", "content": text},
                        "503": {
                            "description": "No images are accepted; the body says why",
                            "content": text,
                        },
                    },
                }
            },
        },
        "components": {"schemas": schemas["$defs"]},
    }


def _json(schema: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
