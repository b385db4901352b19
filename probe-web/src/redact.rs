//! A report without what is personal: for share links and for those who may not see it.

pub(crate) use greenroom_reports::redact::without_person as redact;
