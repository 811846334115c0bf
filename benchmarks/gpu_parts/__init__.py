"""Parts of benchmarks/gpu.py: computed (costs, memory), measured (machine, sides), made up (world), shown (table)."""
