import { create } from "./dom.js";
import { formatNumber } from "./format.js";

const MAX_CHIPS = 12;

const isObject = (value) => typeof value === "object" && value !== null;

/** JSON of any kind: texts as chips, shares from 0 to 1 as bars, members below each other. */
export function readable(value) {
  if (value > 0 && value < 1) {
    const percent = value.toLocaleString(undefined, { style: "percent" });
    const meter = create("meter", { value, ariaLabel: percent });
    return create("span", {}, meter, ` ${percent}`);
  }
  if (typeof value === "number") return formatNumber(value);
  if (!isObject(value)) return String(value ?? "–");
  const list = Array.isArray(value);
  if (list && !value.some(isObject)) {
    const texts = value.slice(0, MAX_CHIPS).map(String);
    if (value.length > MAX_CHIPS) texts.push(`+ ${value.length - MAX_CHIPS}`);
    return create("ul", { className: "chips" }, ...texts.map((text) => create("li", {}, text)));
  }
  const rows = Object.entries(value).map(([name, item]) => {
    // Like a label and its confidence.
    const [text, number, ...rest] = Object.values(item ?? {});
    const pair = typeof text === "string" && typeof number === "number" && !rest.length;
    const [term, content] = pair ? [text, number] : [list ? "" : name, item];
    return create("div", {}, create("dt", {}, term), create("dd", {}, readable(content)));
  });
  return create("dl", {}, ...rows);
}
