# Each target is a line that a person could type; run `make up`, `make test`, `make down`.
.DEFAULT_GOAL := help
PLAYBOOK = .venv/bin/ansible-playbook
ARGS =

help:           ## Show these targets
	@grep -hE '^[a-z%-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

.venv/run.done: requirements/run.txt scripts/venv.sh
	scripts/venv.sh requirements/run.txt .venv/run.done

.venv/test.done: requirements/test.txt .venv/run.done
	scripts/venv.sh requirements/test.txt .venv/test.done

up: .venv/run.done         ## Bring the whole platform up on this machine
	$(PLAYBOOK) llm.orchestrator.site $(ARGS)

down: .venv/run.done       ## Remove its containers and networks, keep its data
	$(PLAYBOOK) llm.orchestrator.down $(ARGS)

clean: .venv/run.done      ## Remove everything: containers, networks, data, images, the virtual environment
	$(PLAYBOOK) llm.orchestrator.down -e down_remove_data=true $(ARGS)
	rm -rf .venv .cache

build: .venv/run.done      ## Build the collection's tarball
	.venv/bin/ansible-galaxy collection build --force --output-path .cache

# Two at a time, in this order, and each says all at its end. Those of the whole platform close the run.
TEST_PARTS = images lint terraform unit sanity services integration model-service molecule swarm

test: .venv/test.done      ## All parts below but those that are said not to be in it
	rm -rf .cache/failed
	$(MAKE) --jobs 2 --keep-going --output-sync=target --no-print-directory $(TEST_PARTS:%=test-%) \
	  || { tail -n 15 .cache/failed/*; false; }
	scripts/test.sh e2e

test-%: .venv/test.done    ## One part: test-lint, test-unit, test-sanity, test-services, test-model-service, test-integration, test-molecule, test-swarm, test-terraform, test-e2e; test-fleet (several hosts) and test-rollout are not in `make test`
	scripts/test.sh $*

# What runs the images.
test-model-service test-integration test-molecule test-swarm test-fleet soak: test-images

bench-engine: .venv/run.done ## Measure model-service beside llama.cpp's and llama-cpp-python's servers; ARGS=--help says what can be chosen
	.venv/bin/python benchmarks/engine/run.py $(ARGS)

soak: .venv/test.done      ## What takes hours: mixed load on model-service for SOAK_MINUTES (60), then the long forms of its tests
	scripts/test.sh soak

lint: test-lint            ## All linters

.PHONY: help up down clean build test bench-engine soak lint
