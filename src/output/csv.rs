//! Services as CSV (RFC 4180), out of the table of columns: heads with units, exact figures, nothing where there is
//! none.

use crate::columns::{Column, SERVICES, ServiceRow, Services, csv_field};
use crate::observe::View;
use std::io::{self, Write};

/// Writes every Service with every column that holds a figure or words.
pub fn write_snapshot(view: &View, out: &mut dyn Write) -> io::Result<()> {
    let columns: Vec<&Column<Services>> = SERVICES.iter().filter(|c| c.key != "trend").collect();
    let heads: Vec<String> = columns.iter().map(|c| csv_field(&c.title())).collect();
    write!(out, "{}\r\n", heads.join(","))?;
    for (i, service) in view.model.services.iter().enumerate() {
        let row = ServiceRow {
            service,
            rates: view.rates.get(i),
            lookup: view.lookups.get(i).and_then(Option::as_ref),
        };
        let cells: Vec<String> = columns.iter().map(|c| csv_field(&c.exact(&row))).collect();
        write!(out, "{}\r\n", cells.join(","))?;
    }
    Ok(())
}
