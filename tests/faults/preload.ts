// Loaded before a test's program: the program then runs on the build of the helper that has fault points. The product
// knows nothing of it.

import { plugin } from "bun";
import { faultBuild } from "../../scripts/build-native.ts";

plugin({
  name: "helper with fault points",
  setup(build) {
    build.onLoad({ filter: /libzerobuffer\.so$/ }, () => ({
      exports: { default: faultBuild.path },
      loader: "object",
    }));
  },
});
