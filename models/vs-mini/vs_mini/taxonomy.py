"""What kind of thing a picture shows: a violin is a stringed instrument, and a musical instrument.

Two sources. Unicode files every emoji in a subgroup ("animal-mammal"), which says what lies together and gives a
phrase or two. WordNet knows what a noun is a kind of, but a noun has several senses (a "tiger" is first of all a
fierce person); the subgroup, or the folder of a piece of clip art, says which sense is meant: the first
whose kinds include the subgroup's own (ANCHORS).
"""

import functools

from . import config

# Kinds that every sense must have to be the one meant, by the beginning of a subgroup or clip-art folder.
ANCHORS = {
    "animal": ["animal"], "plant": ["plant", "plant part", "flower"], "food": ["food", "foodstuff", "fruit", "vegetable"], "drink": ["beverage", "container"],
    "dishware": ["container", "tableware", "utensil"], "transport-": ["conveyance"], "transportation": ["conveyance"], "place-building": ["structure"],
    "place-religious": ["structure"], "place-geographic": ["geological formation", "land", "body of water"], "sport": ["equipment", "game", "sport"],
    "game": ["game", "plaything", "equipment"], "clothing": ["clothing", "footgear", "covering", "jewelry", "container"],
    "people/clothing": ["clothing", "footgear", "covering"], "musical-instrument": ["musical instrument"],
    "recreation/music": ["musical instrument"], "recreation/sports": ["equipment", "sport"], "phone": ["device", "equipment"], "computer": ["device", "machine"],
    "light": ["device", "source of illumination"], "office": ["artifact"], "tool": ["implement", "device", "weapon"], "science": ["instrument", "artifact"],
    "medical": ["artifact", "substance"], "household": ["artifact"], "electronics": ["artifact"], "buildings": ["structure"],
    "sky & weather": ["celestial body", "atmospheric phenomenon", "weather"], "person-fantasy": ["imaginary being", "spiritual being"],
    "person-role": ["person"], "body-parts": ["body part"],
}
# Too general to be a name for anything.
VAGUE = set("entity,physical entity,object,physical object,whole,unit,artifact,artefact,instrumentality,instrumentation,matter,substance,"
            "living thing,animate thing,organism,being,causal agent,cause,causal agency,abstraction,abstract entity,thing,physical object,chordate,"
            "placental,placental mammal,eutherian,eutherian mammal,vertebrate,craniate,solid,part,piece,relation,attribute,"
            "psychological feature,cognition,event,process,physical process,state,group,grouping,covering,commodity,good,"
            "trade good,consumer goods,nutrient,vascular plant,tracheophyte,vehicle part,way,domestic animal,individual,someone,somebody,mortal,soul,"
            "invertebrate,arthropod,tetrapod,aquatic vertebrate,conveyance,construction,material,ware,foodstuff,food product,food,article".split(","))
LEVELS = 5

# How a person would say a subgroup; others are said as they are written.
SUBGROUPS = {
    "face-smiling": ["smiling face", "happy face", "smiley"], "face-affection": ["loving face", "smiley"], "face-tongue": ["face with tongue", "smiley"],
    "face-hand": ["face with hand", "smiley"], "face-neutral-skeptical": ["neutral face", "skeptical face", "smiley"], "face-sleepy": ["sleepy face", "smiley"],
    "face-unwell": ["sick face", "smiley"], "face-hat": ["face with hat", "smiley"], "face-glasses": ["face with glasses", "smiley"],
    "face-concerned": ["worried face", "sad face", "smiley"], "face-negative": ["angry face", "smiley"], "face-costume": ["mask", "costume"],
    "cat-face": ["cat face", "animal face"], "monkey-face": ["monkey face", "animal face"], "heart": ["heart", "love heart"], "emotion": ["emotion"],
    "hand-fingers-open": ["hand gesture", "hand"], "hand-fingers-partial": ["hand gesture", "hand"], "hand-single-finger": ["pointing hand", "hand"],
    "hand-fingers-closed": ["hand gesture", "fist", "hand"], "hands": ["hands"], "hand-prop": ["hand"], "body-parts": ["body part"], "person": ["person", "face of a person"],
    "person-gesture": ["person", "gesture"], "person-role": ["person", "profession"], "person-fantasy": ["fantasy creature", "fairy tale"],
    "person-activity": ["person", "activity"], "person-sport": ["sport", "person doing sport"], "person-resting": ["person resting", "person"],
    "family": ["family", "couple", "people"], "person-symbol": ["people symbol"], "animal-mammal": ["animal", "mammal"], "animal-bird": ["animal", "bird"],
    "animal-amphibian": ["animal", "amphibian"], "animal-reptile": ["animal", "reptile"], "animal-marine": ["sea animal", "animal"],
    "animal-bug": ["insect", "bug"], "plant-flower": ["flower", "plant"], "plant-other": ["plant"], "food-fruit": ["fruit", "food"],
    "food-vegetable": ["vegetable", "food"], "food-prepared": ["meal", "food"], "food-asian": ["asian food", "food"], "food-marine": ["seafood", "food"],
    "food-sweet": ["sweets", "dessert", "food"], "drink": ["drink", "beverage"], "dishware": ["dishes", "tableware"], "place-map": ["map"],
    "place-geographic": ["landscape", "place"], "place-building": ["building"], "place-religious": ["religious building", "building"],
    "place-other": ["place", "city"], "transport-ground": ["vehicle", "land vehicle"], "transport-water": ["boat", "water vehicle", "watercraft"],
    "transport-air": ["aircraft", "air vehicle"], "time": ["clock", "time"], "sky & weather": ["weather", "sky"], "event": ["celebration", "party"],
    "award-medal": ["medal", "award"], "sport": ["sport", "sports equipment"], "game": ["game", "toy"], "arts & crafts": ["art", "craft"],
    "clothing": ["clothing", "clothes", "accessory"], "sound": ["sound"], "music": ["music"], "musical-instrument": ["musical instrument", "instrument", "music"],
    "light & video": ["light", "camera"], "book-paper": ["book", "paper"], "writing": ["pen", "writing tool"], "office": ["office supplies"],
    "household": ["household object"], "other-object": ["object"], "transport-sign": ["transport sign", "sign"], "warning": ["warning sign", "sign"],
    "religion": ["religious symbol", "symbol"], "zodiac": ["zodiac sign", "symbol"], "av-symbol": ["media button", "button"], "gender": ["gender symbol"],
    "math": ["math symbol", "symbol"], "punctuation": ["punctuation mark", "symbol"], "currency": ["currency symbol"], "other-symbol": ["symbol"],
    "alphanum": ["letters in a square", "button"], "geometric": ["geometric shape", "shape"], "flag": ["flag"], "country-flag": ["flag", "country flag"],
    "subdivision-flag": ["flag"],
}


@functools.cache
def subgroups() -> dict[str, str]:
    """The Unicode subgroup of every emoji, variation selectors left out."""
    relative = "usr/share/unicode/emoji/emoji-test.txt"
    path = config.DEBIAN / relative
    found, subgroup = {}, ""
    for line in (path if path.exists() else config.Path("/") / relative).read_text().splitlines():
        if line.startswith("# subgroup:"):
            subgroup = line.split(":", 1)[1].strip()
        elif ";" in line and not line.startswith("#"):
            text = "".join(chr(int(code, 16)) for code in line.split(";")[0].split())
            found[text.replace("\ufe0f", "")] = subgroup
    return found


@functools.cache
def wordnet() -> tuple[dict[str, list[str]], dict[str, tuple[list[str], list[str]]]]:
    """Nouns to the numbers of their senses, the usual one first; senses to their words and what they are kinds of."""
    relative = "usr/share/wordnet"
    root = config.DEBIAN / relative
    root = root if root.exists() else config.Path("/") / relative
    nouns, senses = {}, {}
    for line in (root / "index.noun").read_text().splitlines():
        if not line.startswith(" "):
            parts = line.split()
            nouns[parts[0]] = parts[-int(parts[2]):]
    for line in (root / "data.noun").read_text().splitlines():
        if not line.startswith(" "):
            parts = line.split(" | ")[0].split()
            count = int(parts[3], 16)
            words = [parts[4 + 2 * i].replace("_", " ") for i in range(count)]
            pointers = parts[5 + 2 * count:]
            senses[parts[0]] = (words, [pointers[4 * i + 1] for i in range(int(parts[4 + 2 * count])) if pointers[4 * i].startswith("@")])
    return nouns, senses


def above(sense: str) -> list[str]:
    """What a sense is a kind of, nearest first."""
    _, senses = wordnet()
    found, row = [], senses[sense][1]
    while row:
        found += [number for number in row if number not in found]
        row = [higher for number in row for higher in senses[number][1] if higher not in found]
    return found


@functools.cache
def kinds(noun: str, place: str) -> tuple[str, ...]:
    """Names of the kinds of thing that a noun is, in the sense that fits a subgroup or folder; none where none fits."""
    anchors = next((names for start, names in ANCHORS.items() if place.startswith(start)), [])
    nouns, senses = wordnet()
    for sense in nouns.get(noun.lower().replace(" ", "_"), []):
        chain = above(sense)
        names = [word for number in chain for word in senses[number][0]]
        if set(anchors) & set(names):
            near = [word for number in chain[:LEVELS] for word in senses[number][0][:2]]
            return tuple(dict.fromkeys(word for word in near if word == word.lower() and word not in VAGUE and word.count(" ") < 3 and word != noun))
    return ()


def of_emoji(name: str, subgroup: str) -> list[str]:
    """Phrases for what an emoji is a kind of."""
    found = list(SUBGROUPS.get(subgroup, [subgroup.replace("-", " ")] if subgroup else []))
    plain = name.lower().removesuffix(" face")
    for noun in (plain, plain.split(" ")[-1]):
        if found_kinds := kinds(noun, subgroup):
            found += found_kinds
            if name.endswith(" face") and "animal" in subgroup:
                found.append("animal face")
            break
    return list(dict.fromkeys(found))
