//! The shop's four kinds of work, each with a queue of its own.

use std::path::PathBuf;
use std::time::Duration;

use dutiful::{Job, Retry};
use serde::{Deserialize, Serialize};

/// Tells a customer that the order has arrived: an effect outside, recognised by its key.
#[derive(Serialize, Deserialize)]
pub(crate) struct SendConfirmationEmail {
    pub(crate) order: u64,
    pub(crate) to: String,
    pub(crate) subject: String,
}

impl Job for SendConfirmationEmail {
    const TYPE: &'static str = "send_confirmation_email";
    const QUEUE: &'static str = "mail";
    const MAX_ATTEMPTS: u32 = 5;
    const TIMEOUT: Duration = Duration::from_secs(10);
    const RETRY: Retry = Retry::fixed(Duration::from_secs(1));
}

/// Takes the ordered pieces off the shelf: an effect in the store's own file, exactly once.
#[derive(Serialize, Deserialize)]
pub(crate) struct UpdateInventory {
    pub(crate) order: u64,
    pub(crate) product: u64,
    pub(crate) quantity: u64,
}

impl Job for UpdateInventory {
    const TYPE: &'static str = "update_inventory";
    const QUEUE: &'static str = "inventory";
    const MAX_ATTEMPTS: u32 = 5;
    const RETRY: Retry = Retry::fixed(Duration::from_secs(1));
}

/// Makes a small picture of a large one: a repeat writes the same file again.
#[derive(Serialize, Deserialize)]
pub(crate) struct ResizeImage {
    pub(crate) order: u64,
    pub(crate) picture: PathBuf,
}

impl Job for ResizeImage {
    const TYPE: &'static str = "resize_image";
    const QUEUE: &'static str = "pictures";
    const TIMEOUT: Duration = Duration::from_secs(60);
    const RETRY: Retry = Retry::fixed(Duration::from_secs(1));
}

/// Exports all orders as CSV, once the last one is booked.
#[derive(Serialize, Deserialize)]
pub(crate) struct MonthlyReport {
    /// How many orders it must show.
    pub(crate) orders: u64,
}

impl Job for MonthlyReport {
    const TYPE: &'static str = "monthly_report";
    const QUEUE: &'static str = "reports";
    const RETRY: Retry = Retry::fixed(Duration::from_secs(1));
}

/// The queues, in the order in which the screen shows them, with the words for people.
pub(crate) const QUEUES: [(&str, &str); 4] = [
    (SendConfirmationEmail::QUEUE, "confirmation mails"),
    (UpdateInventory::QUEUE, "stock changes"),
    (ResizeImage::QUEUE, "pictures resized"),
    (MonthlyReport::QUEUE, "monthly report"),
];
