# slt-cache in a container. The RUN lines are those of README.md ("To install without make"); a test compares them.
#
# CPU:   docker build -t slt-cache --build-arg TORCH_INDEX=URL .      (URL of the CPU wheels, from pytorch.org)
# CUDA:  docker build -t slt-cache --build-arg BASE=pytorch/pytorch:TAG .      (an image that brings PyTorch with CUDA)
ARG BASE=python:3.12-slim
FROM ${BASE}

ARG TORCH_INDEX=""
ENV PIP_NO_CACHE_DIR=1 PYTHONUNBUFFERED=1
WORKDIR /opt/slt-cache
COPY . .
RUN pip install torch torchvision ${TORCH_INDEX:+--index-url "$TORCH_INDEX"}
RUN pip install .

WORKDIR /work
ENTRYPOINT ["slt-cache"]
CMD ["--help"]
