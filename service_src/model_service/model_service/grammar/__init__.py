"""From what an answer has to look like to GBNF, llama.cpp's form of grammars.

llama-cpp-python brings a converter of JSON schemas, which isn't used: what it makes lets control characters into
strings, which is no JSON; mixes up a definition and a property of one name; doesn't escape backslashes of constants;
and ignores in silence what it doesn't know, such as ``minimum``, a required property that isn't declared, or
everything beside an ``anyOf``. Here, what can't be kept to is refused by name.
"""
