"""ONNX Runtime: inference alone."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from . import UnsupportedError


class OnnxRuntime:
    """A session of the CPU provider, all graph optimizations on."""

    title = "ONNX Runtime"

    def __init__(self, threads, dtype):
        self.threads, self.dtype = threads, dtype

    def versions(self):
        return {"onnxruntime": onnxruntime.__version__, "onnx": onnx.__version__}

    def train(self, work, weights, x, t):
        raise UnsupportedError("it does not train")

    def serve(self, work, weights):
        real = TensorProto.FLOAT if self.dtype == "float32" else TensorProto.DOUBLE
        nodes, constants, here = [], [], "x"
        kinds = [work.hidden] * (len(work.sizes) - 2) + [work.output]
        pairs = zip(weights[::2], weights[1::2], kinds, strict=True)
        for i, (w, b, kind) in enumerate(pairs):
            constants += [numpy_helper.from_array(w, f"w{i}"), numpy_helper.from_array(b, f"b{i}")]
            nodes.append(helper.make_node("Gemm", [here, f"w{i}", f"b{i}"], [f"z{i}"]))
            here = f"z{i}"
            if kind not in ("linear", "relu", "sigmoid", "softmax"):
                raise UnsupportedError(f"no case for {kind}")
            if kind != "linear":
                nodes.append(helper.make_node(kind.capitalize(), [here], [f"y{i}"]))
                here = f"y{i}"
        graph = helper.make_graph(
            nodes, "net",
            [helper.make_tensor_value_info("x", real, [None, work.sizes[0]])],
            [helper.make_tensor_value_info(here, real, [None, work.sizes[-1]])],
            constants,
        )  # fmt: skip
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 9
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self.predict = lambda x: np.asarray(session.run(None, {"x": x})[0])
