//! Reads ONNX files and architecture descriptions into avocet's graph
