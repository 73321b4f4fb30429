//! How what became of an alert reaches people.

use dutiful::Error;

use super::board::Board;
use super::evaluate::Record;

/// Has it told that an alert fires or is resolved.
pub(super) async fn tell(_board: &Board, _record: &Record) -> Result<(), Error> {
    Ok(())
}
