"""Commands about checkpoints: conversion, ONNX, publication."""
