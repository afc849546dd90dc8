"""Checkpoints in and out: conversion, model cards, the Hub, ONNX."""
