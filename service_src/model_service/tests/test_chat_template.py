"""A chat template renders the model's form, and can do nothing else."""

from __future__ import annotations

import pytest

from model_service.chat_template import ChatTemplate, TemplateError
from model_service.llama.model import Model

USER = [{"role": "user", "content": "Hi"}]


def render(source: str, messages: list[dict[str, str]] = USER) -> str:
    return ChatTemplate(source, "<s>", "</s>").render(messages)


def test_the_models_own_template_gives_its_form(model: Model) -> None:
    assert model.chat_template is not None
    messages = [{"role": "system", "content": "Be brief."}, *USER]
    assert render(model.chat_template, messages) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )


def test_what_hugging_face_offers_to_templates_is_there() -> None:
    source = (
        "{{ bos_token }}{% for m in messages %}{% if loop.index > 1 %}{% break %}{% endif %}"
        "{{ m | tojson }}{% endfor %}{{ strftime_now('%Y') | length }}"
    )
    messages = [{"role": "user", "content": "<ü>"}, *USER]
    assert render(source, messages) == '<s>{"role": "user", "content": "<ü>"}4'


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ self.__init__.__globals__ }}",
        "{{ messages.append('x') }}",
        "{{ messages[0].update(role='system') }}",
        "{{ (messages | attr('__class__')).__base__ }}",
        "{{ raise_exception.__globals__['hashlib'] }}",
        "{{ '{0.__class__.__base__}'.format(messages).__class__.__mro__ }}",
        "{% for i in range(10 ** 9) %}x{% endfor %}",
        "{% include '/etc/passwd' %}",
        "{{ lipsum.__globals__['os'] }}",
        "{{ joiner.__init__.__builtins__ }}",
    ],
)
def test_a_hostile_template_is_refused(source: str) -> None:
    with pytest.raises(TemplateError) as caught:
        render(source)
    assert not caught.value.refused


def test_a_template_that_refuses_the_messages_says_why() -> None:
    with pytest.raises(TemplateError, match="roles must alternate") as caught:
        render("{{ raise_exception('roles must alternate') }}")
    assert caught.value.refused


def test_a_template_with_a_syntax_error_names_the_line() -> None:
    with pytest.raises(TemplateError, match="line 2"):
        render("ok\n{% for %}")
