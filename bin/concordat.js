#!/usr/bin/env node
import '../dist/cli/concordat.js'
