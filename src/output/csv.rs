//! Services as CSV (RFC 4180), out of the table of columns: heads with units, exact figures, nothing where there is
//! none.

use crate::columns::{Column, SERVICES, Services, csv_field};
use crate::observe::View;
use std::io::{self, Write};

/// Writes every Service with every column that holds a figure or words.
pub fn write_snapshot(view: &View, out: &mut dyn Write) -> io::Result<()> {
    // A trend is a picture, and words have commas that scripts stumble over.
    let columns: Vec<&Column<Services>> =
        SERVICES.iter().filter(|c| !["trend", "why"].contains(&c.key)).collect();
    let heads: Vec<String> = columns.iter().map(|c| csv_field(&c.title())).collect();
    write!(out, "{}\r\n", heads.join(","))?;
    for row in view.rows() {
        let cells: Vec<String> = columns.iter().map(|c| csv_field(&c.exact(&row))).collect();
        write!(out, "{}\r\n", cells.join(","))?;
    }
    Ok(())
}
