//! Describes the reads of a shared portfolio: its link key is accepted in place of the id, and no credentials are
//! needed.

use serde_json::{Value, json};

const PORTFOLIO: &str = "/api/v1/portfolios/{id}";

/// Adds this to the description of every operation that reads a portfolio.
pub fn describe(document: &mut Value) {
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    let reads = paths.filter(|(path, _)| path.starts_with(PORTFOLIO));
    for operation in reads.filter_map(|(_, item)| item.get_mut("get")) {
        operation["security"] = json!([{"token": []}, {"session": []}, {}]);
        let parameters = operation["parameters"].as_array_mut().into_iter().flatten();
        for parameter in parameters.filter(|parameter| parameter["name"] == "id" && parameter["in"] == "path")
        {
            parameter["schema"] = json!({"oneOf": [
                {"type": "integer", "format": "int64"},
                {"type": "string", "pattern": "^[0-9a-f]{32}$"},
            ]});
            parameter["description"] =
                "The portfolio's id, or the `link_key` of a portfolio that is shared by link.".into();
        }
    }
}
