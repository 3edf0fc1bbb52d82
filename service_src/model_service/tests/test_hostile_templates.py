"""Over 200 hostile chat templates: none gets out of its sandbox, none takes the service's time or memory."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator

import jinja2
import pytest
import pytest_asyncio

from model_service import chat_template
from model_service.chat_template import ChatTemplate, TemplateError, TemplateRenderer

USER = [{"role": "user", "content": "Hi"}]

_OBJECTS = (
    *("''", "messages", "messages[0]", "{}", "(1)", "(1.5)", "none", "true", "self", "range", "dict", "cycler"),
    *("joiner", "namespace", "raise_exception", "strftime_now", "bos_token.upper", "messages.append", "lipsum"),
)
_WAYS_OUT = (
    "{{ %s.__class__.__mro__ }}",
    "{{ %s['__class__']['__base__'] }}",
    "{{ (%s | attr('__class__')).__base__ }}",
    "{{ (%s | attr('__cl' ~ 'ass__')) }}",
    "{{ %s.__init__.__globals__ }}",
    "{{ %s.__class__.__base__.__subclasses__() }}",
    "{{ %s.__reduce_ex__(2) }}",
    "{{ [%s] | map(attribute='__class__') | list }}",
)
_GLOBALS = (
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ joiner.__init__.__globals__['os'].environ }}",
    "{{ namespace.__init__.__globals__.os }}",
    "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "{{ raise_exception.__globals__['jinja2'] }}",
    "{{ strftime_now.__globals__ }}",
    "{{ self._TemplateReference__context.environment }}",
    "{{ self.__init__.__globals__.__builtins__ }}",
    "{{ dict.mro() }}",
    "{{ cycler('a').__class__.__mro__ }}",
    "{% set n = namespace() %}{{ n.__class__.__mro__ }}",
    "{% set n = namespace(a=1) %}{% set n.__class__ = 1 %}{{ n.__class__ }}",
    "{% for m in messages %}{{ loop.__init__.__globals__ }}{% endfor %}",
    "{% macro m() %}{{ caller.__globals__ }}{% endmacro %}{% call m() %}{% endcall %}",
    "{% macro m() %}{% endmacro %}{{ m.__init__.__globals__ }}",
    "{{ undefined_name.__init__.__globals__ }}",
    "{{ ''.join.__self__.__class__ }}",
    "{{ (messages | batch(1)).gi_frame.f_globals }}",
    "{{ (messages | map('upper')).gi_code }}",
    "{{ ''.__doc__.__class__ }}",
    "{{ messages.__getattribute__('__class__') }}",
    "{{ messages[0].__getitem__.__self__.__class__ }}",
)
_FORMATS = (
    "{{ '{0.__class__.__mro__}'.format(messages) }}",
    "{{ '{0[0].__class__}'.format(messages) }}",
    "{{ '{m.__class__.__base__}'.format(m=messages) }}",
    "{{ '{m.__class__}'.format_map({'m': messages}) }}",
    "{{ '{0.__globals__}'.format(raise_exception) }}",
    "{{ '{0.__init__.__globals__}'.format(cycler) }}",
    "{% set f = '{0.__class__}'.format %}{{ f(messages) }}",
    "{{ ('{0.__class__}' | attr('format'))(messages) }}",
    "{{ ('{0.__class__}' | safe).format(messages) }}",
    "{{ ('{0.__class__}' | escape).format(messages) }}",
    "{{ ('{m.__class__}' | safe).format_map({'m': messages}) }}",
    "{{ ''.__class__.format('{0.__class__}', messages) }}",
    "{{ (['{0.__class__}'] | map(attribute='format') | first)(messages) }}",
    "{% set f = '{0.__class__.__mro__}' %}{{ (f ~ '').format(messages) }}",
    "{{ '{:{a.__class__}}'.format(1, a=messages) }}",
    "{{ '%s' | format(self.__init__.__globals__) }}",
)
_CHANGES = (
    "{{ messages.append('x') }}",
    "{{ messages.clear() }}",
    "{{ messages.pop() }}",
    "{{ messages.insert(0, 1) }}",
    "{{ messages.sort() }}",
    "{{ messages.extend([1]) }}",
    "{{ messages[0].update(role='system') }}",
    "{{ messages[0].pop('role') }}",
    "{{ messages[0].setdefault('a', 1) }}",
    "{{ messages[0].clear() }}",
    "{% do messages.append(1) %}",
)
_FILES = (
    "{% include '/etc/passwd' %}",
    "{% import '/etc/passwd' as p %}",
    "{% from '/etc/passwd' import p %}",
    "{% extends '/etc/passwd' %}",
    "{% include ['a', '/etc/passwd'] %}",
    "{% include self %}",
    "{% extends messages %}",
)
ESCAPES = (*(way % each for each in _OBJECTS for way in _WAYS_OUT), *_GLOBALS, *_FORMATS)

BOMBS = (
    "{{ 'a' * 10 ** 9 }}",
    "{{ bos_token * 10 ** 9 }}",
    "{{ [0] * 10 ** 9 }}",
    "{{ messages * 10 ** 9 }}",
    "{{ 'a' | center(10 ** 9) }}",
    "{{ 'a'.ljust(10 ** 9) }}",
    "{{ 'a'.zfill(10 ** 9) }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ '%1000000000d' | format(1) }}",
    "{{ '{:1000000000}'.format(1) }}",
    "{{ ('a' * 10 ** 6) | replace('a', 'b' * 10 ** 6) }}",
    "{{ ('a' * 10 ** 5).replace('', 'b' * 10 ** 5) }}",
    "{{ ('a,' * 10 ** 5) | replace(',', 'b' * 10 ** 5) | length }}",
    "{{ 'a' | indent(10 ** 9, true) }}",
    "{{ messages | tojson(indent=10 ** 9) }}",
    "{{ ('a' * 10 ** 6).join(['b'] * 10 ** 6) }}",
    "{{ (['b'] * 10 ** 6) | join('a' * 10 ** 6) }}",
    "{{ 'a'.expandtabs(10 ** 9) ~ '\\t'.expandtabs(10 ** 9) }}",
    "{{ ('a' * 10 ** 4).encode('utf-32').hex() * 10 ** 5 }}",
    "{{ strftime_now('%Y' * 10 ** 8) }}",
    "{{ raise_exception('a' * 10 ** 9) }}",
    "{% set ns = namespace(t='a') %}{% for i in range(60) %}{% set ns.t = ns.t ~ ns.t %}{% endfor %}{{ ns.t }}",
    "{% set ns = namespace(t=[1]) %}{% for i in range(60) %}{% set ns.t = ns.t + ns.t %}{% endfor %}{{ ns.t }}",
    "{% for i in range(99999) %}{{ bos_token * 10000 }}{% endfor %}",
    "{% for i in range(10 ** 9) %}x{% endfor %}",
    "{{ range(10 ** 9) | list }}",
    "{{ range(99999) | list | tojson | center(10 ** 8) | length ~ range(99999) | map('center', 9999) | list }}",
    "{{ lipsum(n=10 ** 9) }}",
    "{{ cycler(*range(10 ** 9)) }}",
    "{{ dict(messages=('a' * 10 ** 9)) }}",
)
LOOPS = (
    "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "{% for i in range(99999) %}{% set x = i ** 9999 %}{% endfor %}",
    "{{ 9 ** (9 ** 9) }}",
    "{{ (messages | length + 6) ** (7 ** 9) }}",
    "{{ 10 ** (10 ** 8) % 7 }}",
    "{% for i in range(99999) %}{{ range(99999) | sum }}{% endfor %}",
    "{% for i in range(99999) %}{{ range(99999) | sort(reverse=true) | first }}{% endfor %}",
    "{% for i in range(99999) %}{{ range(99999) | map('string') | join | length }}{% endfor %}",
    "{% for i in range(99999) %}{% set x = ((bos_token ~ 'a') * 99999) | upper | title | trim | length %}{% endfor %}",
    "{% for i in range(99999) %}{% set x = ((bos_token ~ 'a ') * 99999) | wordwrap(7) %}{% endfor %}",
    "{% for i in range(99999) %}{% set x = ((bos_token ~ '<b') * 99999) | striptags %}{% endfor %}",
    "{% for i in range(99999) %}{% set x = ((bos_token ~ 'http://a ') * 9999) | urlize %}{% endfor %}",
    "{% for i in range(99999) %}{% set x = ((bos_token ~ 'a ') * 99999) | wordcount %}{% endfor %}",
    "{% for i in range(99999) %}{% set x = range(9999) | groupby('real') %}{% endfor %}",
    "{% for i in range(99999) %}{% set x = range(9999) | unique | list %}{% endfor %}",
    "{% for i in range(99999) %}{% set x = range(9999) | batch(3) | list %}{% endfor %}",
    "{% for i in range(99999) %}{% set x = messages | tojson(indent=9999) %}{% endfor %}",
    "{% for i in range(99999) %}{% set x = ((bos_token ~ 'ab') * 9999).count('b') %}{% endfor %}",
    "{% for i in range(99999) %}{% set x = ((bos_token ~ 'a') * 99999 ~ 'b').find('a' * 50000 ~ 'c') %}{% endfor %}",
    "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
    "{% macro m() %}{% for i in range(99999) %}{{ caller() }}{% endfor %}{% endmacro %}"
    "{% call m() %}{% for i in range(99999) %}{% endfor %}{% endcall %}",
    "{% for i in range(2) recursive %}{{ loop(range(2)) if loop.depth < 60 }}{% endfor %}",
    "{% set c = cycler(1, 2) %}{% for i in range(99999) %}{% for j in range(999) %}"
    "{% set x = c.next() %}{% endfor %}{% endfor %}",
)
BREAKS = (
    *_CHANGES,
    *_FILES,
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}",
    "{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "{{ " + "[" * 5000 + "]" * 5000 + " }}",
    "{{ " + "not " * 20000 + "1 }}",
    "{{ " + "-" * 20000 + "1 }}",
    "{% if 1 %}" * 3000 + "{% endif %}" * 3000,
    "{% for i in [1] %}" * 200 + "x" + "{% endfor %}" * 200,
    "{{ 1" + " + 1" * 50000 + " }}",
    "{{ 1 // 0 }}",
    "{{ messages.nothing.at_all }}",
    "{{ none + 1 }}",
    "{{ messages | no_such_filter }}",
    "{{ '\\ud800' }}",
    "{{ '%d' % 'x' }}",
    "{{ 10 ** 6000 }}",
    "{{ messages | tojson(default=1, cls=2) }}",
    "{{ range(1, 2, 0) }}",
    "{% block a %}{{ self.a() }}{% endblock %}",
    "{{ super() }}",
    "{{ (1).__pow__(9) }}",
    "{% raw %}",
    "{{ '\\x00' }}{{ '\\N{NO SUCH}' }}",
)
# What an escape would show: an object of Python's, the user's id, a file's or the environment's content.
_EVIDENCE = re.compile(
    r"<(class|function|module|built-in|bound|method|slot|code|jinja2|model_service)|uid=|root:|PATH="
)


@pytest_asyncio.fixture
async def renderer() -> AsyncGenerator[TemplateRenderer, None]:
    async with TemplateRenderer() as renderer:
        yield renderer


async def outcome(renderer: TemplateRenderer, source: str) -> str | TemplateError:
    try:
        return await ChatTemplate(renderer, source, "<s>", "</s>").render(USER)
    except TemplateError as error:
        return error


async def outcomes(renderer: TemplateRenderer, sources: tuple[str, ...]) -> dict[str, str | TemplateError]:
    one_by_one = asyncio.Semaphore(2)

    async def bounded(source: str) -> str | TemplateError:
        async with one_by_one:
            return await outcome(renderer, source)

    return dict(zip(sources, await asyncio.gather(*map(bounded, sources)), strict=True))


async def still_works(renderer: TemplateRenderer) -> bool:
    return await outcome(renderer, "{{ messages[0].content }}") == "Hi"


def test_there_are_two_hundred() -> None:
    assert len({*ESCAPES, *BOMBS, *LOOPS, *BREAKS}) >= 200


def test_without_a_sandbox_most_of_them_get_out() -> None:
    def gets_out(source: str) -> bool:
        environment = jinja2.Environment()
        environment.globals["raise_exception"] = environment.globals["strftime_now"] = lambda text: text
        try:
            return bool(_EVIDENCE.search(environment.from_string(source).render(messages=USER, bos_token="<s>")))
        except Exception:
            return False

    assert sum(map(gets_out, ESCAPES)) > 0.6 * len(ESCAPES)


async def test_none_gets_out_of_its_sandbox(renderer: TemplateRenderer) -> None:
    for source, result in (await outcomes(renderer, ESCAPES)).items():
        assert isinstance(result, TemplateError) or not _EVIDENCE.search(result), source
        assert not (isinstance(result, TemplateError) and result.refused), source
    assert await still_works(renderer)


async def test_none_takes_the_services_memory(renderer: TemplateRenderer) -> None:
    for source, result in (await outcomes(renderer, BOMBS)).items():
        assert isinstance(result, TemplateError) or len(result) < 5_000_000, source
    assert await still_works(renderer)


async def test_loops_are_cut(renderer: TemplateRenderer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_template, "RENDER_SECONDS", 0.4)
    for source, result in (await outcomes(renderer, LOOPS)).items():
        assert isinstance(result, TemplateError), source
        assert not result.refused
    assert await still_works(renderer)


async def test_what_is_broken_fails_alone(renderer: TemplateRenderer) -> None:
    for source, result in (await outcomes(renderer, BREAKS)).items():
        if isinstance(result, str):
            assert not _EVIDENCE.search(result), source
        assert await still_works(renderer), source
