"""What visitors may be told when an image gets no answer: listed here to be translated.

The sentences are raised in English, as the API sends them; the page looks them up.
"""

from __future__ import annotations

from installation.config.model import Web


def _(sentence: str) -> str:
    """Mark a sentence for translation."""
    return sentence


_SENTENCES = (
    _("Sorry, something went wrong on our side. Please try another image."),
    _("There is nothing at this address."),
    _("This address does not support that method."),
    _("This page is closing. Please try again in a moment."),
    _("Many people are sending images right now. Please try again in a moment."),
    _("Several of your images are still in progress. Please wait for them first."),
    _("You have sent many images. Please wait a moment, then try again."),
    _("The machine is very busy right now. Please try again in a moment."),
    _("This image would take too long to process. Please try another one."),
    _("No image was sent."),
    _("The parameter picture is either true or false."),
    _("The form data is damaged. Please try again."),
    _("The request needs the content type multipart/form-data."),
    _("Your connection is too slow for this image. Please try a smaller one."),
    _("This image is larger than %(megabytes)s megabytes. Please send a smaller one."),
    _("This image has more than %(megapixels)s megapixels. Please send a smaller one."),
    _("This image file is damaged. Please try another one."),
    _("This image format is not supported. Please send a JPEG, PNG, WebP or HEIC image."),
    _("This is not a JPEG, PNG, WebP or HEIC image."),
)


def sentence_fields(limits: Web) -> dict[str, str]:
    """Return the numbers that may occur in a sentence, by the name of their field."""
    return {
        "megabytes": f"{limits.max_upload_mb:g}",
        "megapixels": f"{limits.max_megapixels:g}",
    }


def translatable_sentences(limits: Web) -> dict[str, str]:
    """Return all sentences: as they are raised, to as they are translated, with fields."""
    fields = sentence_fields(limits)
    return {sentence % fields: sentence for sentence in _SENTENCES}
