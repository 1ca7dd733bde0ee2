"""A mypy plugin: the attributes of a compiled class are those its ``.pxd`` declares.

A compiled module is ``foo.py`` with its C types in ``foo.pxd``. mypy reads only the first, where
the attributes of a ``cython.cclass`` need not be declared a second time. This plugin reads them
from the second: C integers become int, ``bint`` bool; of what Python can see, builtin classes and
other compiled classes themselves; the rest is Any, for the compiler checks it. ``__cinit__``
stands in where there is no ``__init__``.

Functions with C signatures have no annotations, their types being in the ``.pxd`` too; structs
and enums of the ``.pxd`` are used unimported; a pointer or an attribute may be None whatever its
class. What mypy says of these the compiler knows better, so it is off in compiled modules, and
only there.

Only lines of this form are read (the rest of a ``.pxd`` is for the compiler alone)::

    cdef [readonly | public] TYPE NAME [, NAME ...]
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from mypy.nodes import MDEF, SymbolTableNode, TypeInfo, Var
from mypy.options import Options
from mypy.plugin import ClassDefContext, Plugin
from mypy.types import AnyType, Instance, Type, TypeOfAny

CLASS = re.compile(r"cdef class (\w+)")
ATTRIBUTE = re.compile(
    r"    cdef (readonly |public )?(?:const )?"
    r"((?:unsigned |long )*\w+(?:\.\w+)*(?:\[\w+\])?)([ *\w,\[\]]+)$"
)
INTEGER = re.compile(
    r"u?int(8|16|32|64)_t|(unsigned |signed )?(char|short|int|long|long long)|unsigned"
    r"|Py_ssize_t|size_t|ssize_t"
)
BUILTIN = {"bytes", "bytearray", "str", "list", "dict", "set", "tuple", "frozenset"}
SCALAR = {"bint": "bool", "float": "float", "double": "float", **{name: name for name in BUILTIN}}


def attributes(declarations: str) -> dict[str, dict[str, str]]:
    """Class name -> attribute -> its C type; ``object`` for what mypy cannot use."""
    classes: dict[str, dict[str, str]] = {}
    current: dict[str, str] = {}
    for line in declarations.splitlines():
        code = line.split("#")[0].rstrip()
        if opened := CLASS.match(code):
            current = classes.setdefault(opened[1], {})
        elif code and not code.startswith(" "):
            current = {}
        elif found := ATTRIBUTE.match(code):
            hidden = found[1] is None and INTEGER.fullmatch(found[2]) is None
            for name in found[3].split(","):
                known = "object" if hidden or "*" in name or "[" in found[2] + name else found[2]
                current[name.split("[")[0].strip(" *")] = known
    return classes


def python_type(c_type: str, context: ClassDefContext) -> Type:
    """How mypy is to see an attribute of that C type."""
    api = context.api
    if INTEGER.fullmatch(c_type):
        return api.named_type("builtins.int")
    if c_type in SCALAR:
        info = api.named_type("builtins." + SCALAR[c_type]).type
        return Instance(info, [AnyType(TypeOfAny.special_form)] * len(info.type_vars))
    if c_type != "object":
        found = api.lookup_qualified(c_type, context.cls, suppress_errors=True)
        if found is not None and isinstance(found.node, TypeInfo):
            return Instance(found.node, [])
    return AnyType(TypeOfAny.special_form)


def declare_attributes(context: ClassDefContext) -> None:
    """Add the attributes of the ``.pxd`` to the class."""
    info = context.cls.info
    module = context.api.modules[info.module_name]
    declaration = Path(module.path).with_suffix(".pxd")
    if not declaration.exists():
        return
    for name, c_type in attributes(declaration.read_text()).get(context.cls.name, {}).items():
        variable = Var(name, python_type(c_type, context))
        variable.info = info
        variable._fullname = f"{info.fullname}.{name}"
        info.names[name] = SymbolTableNode(MDEF, variable, plugin_generated=True)
    if "__cinit__" in info.names and "__init__" not in info.names:
        info.names["__init__"] = SymbolTableNode(MDEF, info.names["__cinit__"].node)


PACKAGES = ("lsmstore", "streams", "cluster", "respserver", "tools")
COMPILED_MODULE_OPTIONS: dict[str, object] = {
    "disallow_untyped_defs": False,
    "disallow_incomplete_defs": False,
    "disallow_untyped_calls": False,
    "warn_return_any": False,
    "warn_unused_ignores": False,
    "warn_unreachable": False,
    "disable_error_code": [
        "assignment",
        "index",
        "name-defined",
        "type-arg",
        "valid-type",
    ],
}


class PxdPlugin(Plugin):
    """Hooks ``cython.cclass``, and knows every module with a ``.pxd`` for a compiled one."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        for package in PACKAGES:
            for declaration in Path(package).rglob("*.pxd"):
                module = ".".join(declaration.with_suffix("").parts)
                options.per_module_options[module] = COMPILED_MODULE_OPTIONS
        options.build_per_module_cache()

    def get_class_decorator_hook(self, fullname: str) -> Callable[[ClassDefContext], None] | None:
        """Called for every class decorator."""
        return declare_attributes if fullname == "cython.cclass" else None


def plugin(version: str) -> type[Plugin]:
    """The entry point mypy looks for."""
    return PxdPlugin
