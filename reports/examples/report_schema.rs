//! Writes the JSON Schema of Report v1 to standard output:
//! `cargo run -p greenroom-reports --example report_schema > reports/schema/report-1.schema.json`

fn main() {
    println!("{:#}", greenroom_reports::schema::json_schema());
}
