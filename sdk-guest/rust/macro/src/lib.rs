//! The module macro of wharf-sdk.
