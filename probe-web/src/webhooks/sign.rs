//! The signature of a message (Standard Webhooks 1.0.0): HMAC-SHA256 over its id, the time at which it is sent and its body.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use crate::clock::random;
use crate::store::WebhookSecret;

/// What a shown secret begins with.
const PREFIX: &str = "whsec_";

impl WebhookSecret {
    /// Makes one of 256 bits.
    pub fn mint() -> Self {
        Self(random::<32>().to_vec())
    }
}

/// A secret as its receiver needs it.
pub fn shown(secret: &WebhookSecret) -> String {
    format!("{PREFIX}{}", STANDARD.encode(&secret.0))
}

/// What the header `webhook-signature` says.
pub fn sign(secret: &WebhookSecret, id: &str, sent_s: i64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &secret.0);
    let tag = hmac::sign(&key, format!("{id}.{sent_s}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the reference implementations.
    #[test]
    fn it_is_the_signature_that_receivers_expect() {
        let secret = WebhookSecret(STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap());
        assert_eq!(shown(&secret), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let signature =
            sign(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn secrets_do_not_show() {
        let secret = WebhookSecret::mint();
        assert_eq!(secret.0.len(), 32);
        assert_eq!(format!("{secret:?}"), "WebhookSecret(…)");
        assert_ne!(secret, WebhookSecret::mint());
    }
}
