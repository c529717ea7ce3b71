//! What all pages share: the frame, templates, forms, formats, charts and flash messages.

pub(crate) mod assets;
pub(crate) mod badge;
pub(crate) mod chart;
pub(crate) mod display;
pub(crate) mod flash;
pub(crate) mod form;
pub(crate) mod format;
pub(crate) mod heat;
pub(crate) mod home;
pub(crate) mod layout;
pub(crate) mod links;
pub(crate) mod render;
pub(crate) mod sparks;
