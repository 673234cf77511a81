// Writes THIRD-PARTY-NOTICES.txt.

import { writeFileSync } from "node:fs";
import { billOfMaterials } from "./licences/bill.ts";
import { notices, noticesPath } from "./licences/notices.ts";

writeFileSync(noticesPath, notices(await billOfMaterials()));
