"""Tells schemathesis what the description leaves out.

Decimals in requests may also be JSON numbers. The description has strings only, so that generated clients send these.
"""

import schemathesis


@schemathesis.hook
def before_load_schema(context, raw_schema):
    raw_schema["components"]["schemas"]["DecimalText"]["type"] = ["string", "number"]
