//! The protocol between client and engine: gRPC messages and services.
