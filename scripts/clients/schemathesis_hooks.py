"""Adds to the description what it leaves out on purpose.

Decimals in requests may also be JSON numbers. The description has only strings, so that generated clients send strings.
"""

import schemathesis


@schemathesis.hook
def before_load_schema(context, raw_schema):
    raw_schema["components"]["schemas"]["DecimalText"]["type"] = ["string", "number"]
