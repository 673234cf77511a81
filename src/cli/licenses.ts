// What `zerobuffer --licenses` prints. Loaded only then: it is long.

import own from "../../LICENSE" with { type: "text" };
import others from "../../THIRD-PARTY-NOTICES.txt" with { type: "text" };

/** The licence of this program, and the notices of everything that an executable contains. */
export const licenses = `${own}\n${others}`;
