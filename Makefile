# Every target gets the machine ready by itself, through scripts/setup.

.PHONY: help demo evaluate test soak install bench lint clean

help:
	@echo 'make demo                   embed a gallery of pictures and find look-alikes in it'
	@echo '     PHOTOS=folder          of your own pictures; names of sub-folders become labels'
	@echo '     KEEP=1                 leave the server up and say how to connect'
	@echo 'make evaluate PHOTOS=folder how often the nearest pictures carry the same label: the'
	@echo '                            pictures in validation/LABEL/ against those in train/LABEL/'
	@echo 'make test                   every test, the last line counts them'
	@echo 'make soak                   10,000 generated queries against plans without an index'
	@echo '     CASES=n SEED=n         how many, and the seed of the first'
	@echo 'make install                install the extension into PostgreSQL'
	@echo '     PG_CONFIG=path         which one (demo and test take it too)'
	@echo '     DESTDIR=folder         into that folder instead, as for packaging'
	@echo 'make bench                  the micro-benchmarks, and vs_hnsw against pgvector where the data'
	@echo '                            for it is (../shared/data); half an hour'
	@echo 'make lint                   formatting, clippy, shellcheck; warnings are errors'
	@echo 'make clean                  remove everything that was built or downloaded'

# What is set on make's command line reaches the scripts through the environment.
demo test soak bench lint:
	@scripts/$@

evaluate:
	@scripts/demo --evaluate

install:
	@scripts/install release

clean:
	scripts/sandbox --clean
	cargo clean
	rm -rf demo/out
