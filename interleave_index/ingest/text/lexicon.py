"""Words that decide what is a noun phrase in English, and function words of some other languages."""

from __future__ import annotations

# fmt: off


def _words(*lines: str) -> frozenset[str]:
    return frozenset(word for line in lines for word in line.split())


def forms_of(verb: str) -> tuple[str, ...]:
    """The forms of a regular verb: base, third person; those in -ing and -ed are known by their endings.

    >>> forms_of("watch"), forms_of("carry"), forms_of("play")
    (('watch', 'watches'), ('carry', 'carries'), ('play', 'plays'))
    """
    if verb.endswith(("s", "x", "z", "ch", "sh")) or verb in ("go", "do"):
        return verb, verb + "es"
    if verb.endswith("y") and verb[-2:-1] not in tuple("aeiou"):
        return verb, verb[:-1] + "ies"
    return verb, verb + "s"


# Stand before a phrase and are not of it. Numbers are of it: "two dogs" are not "dogs".
DETERMINERS = _words(
    "a an the this that these those his her their its my our your whose some any each every another both either",
    "neither such what which all",
)
FUNCTION_WORDS = _words(
    # prepositions
    "about above across after against along alongside amid among amongst around as at atop before behind below",
    "beneath beside besides between beyond by despite down during for from in inside into like near next of off on",
    "onto out outside over past per since than through throughout to toward towards under underneath until up upon",
    "via versus vs while whilst with within without aboard apart away ready back forward ahead together aside",
    "backwards forwards upward upwards downward downwards sideways downhill uphill upside",
    # conjunctions, pronouns
    "and or but nor so yet if because although though unless when where whereas whether who whom how why i you he",
    "she it we they me him them us mine yours hers ours theirs himself herself itself themselves myself yourself",
    "ourselves one's someone something somebody anyone anything everyone everything nobody nothing none there here",
    "others else each-other one-another isn't aren't wasn't weren't don't doesn't didn't can't won't couldn't i'm",
    "it's he's she's they're we're you're",
    # adverbs
    "not no also just only very too quite rather almost nearly still already even ever never always often sometimes",
    "then now again once soon later today yesterday tomorrow happily quickly slowly closely carefully really",
    "probably about maybe perhaps overhead nearby outdoors indoors outside inside mid-air midair apparently",
    "simultaneously directly slightly partially partly mostly mainly completely fully brightly more most less least",
    "much alone etc",
    "ago s t",  # what is left of "dog 's" and "don 't"
)
AUXILIARIES = _words(
    "is are was were be been being am has have had having do does did doing can could will would shall should may",
    "might must get gets got getting",
)
ADVERB_OR_ADJECTIVE = _words("high low far close fast straight inside outside upside past opposite")
CLAUSES = _words("and or but while whilst as when where who which that because so if whereas")  # begin another clause
NOT_ADVERBS = _words(
    "friendly elderly family butterfly monopoly curly hilly lovely lonely heavenly prickly chilly lively deadly",
    "motherly bubbly wrinkly cuddly smelly woolly trolly assembly anomaly",
)  # words in -ly
NUMBERS = _words("one two three four five six seven eight nine ten several many few multiple various other numerous")
PLACES = _words(
    "front back side top bottom middle center centre background foreground distance edge end way direction rest",
    "part left right corner day time air midst sides ends half view lot lots bit kind kinds sort type thing things",
)
SUBJECTS = _words("i you he she it we they who which that")
BEFORE_OF = _words(
    "group groups couple pair pairs bunch set series piece pieces number variety picture photo photograph image",
    "shot line row slice stack hundreds dozens",
)
COLOURS = _words(
    "black white red blue green yellow orange purple pink brown gray grey tan gold silver beige maroon navy blond",
    "blonde dark light big small young old tall short",
)
PLURALS = _words("people men women children kids dogs feet teeth geese mice sheep police fish deer guys folks")

_VERBS_ONLY = (
    "appear carry wear seem enjoy participate prepare follow throw eat sleep hang lie bring chew pose gather wade",
    "perform attempt hit lead pull push sit take get give make go come see put keep leave stare gaze wait wrestle",
    "compete tackle catch climb dig dive drag drive fall fly grab hold jog juggle knit lean lick leap listen meet",
    "paddle pet ride roam run sing sniff speak spit splash squat stand swim talk tear travel try tumble wander",
    "watch write read chase approach balance bite blow bounce bow cling collect converse crawl cross crouch dangle",
    "descend dress examine exit explore fetch fight fill float hike hug hurl interact kick kneel laugh learn let",
    "lift look lounge maneuver observe overlook pass pedal peer perch play point pretend practice race raise reach",
    "receive relax rest retrieve row say shake share shoot shovel skateboard ski skate sled slide smile smoke",
    "snowboard sprint step stick stop surf swing toss touch trot turn use view walk wave wait do dance drink drop",
    "enter graze include contain show work study speed wrap navigate skip launch land jump strike dribble pat block",
    "steer head line rock-climb guide sail sip tow pitch serve punch sweep score dunk spray stroll march gaze feed",
    "wash brush cook cut build paint draw sell buy stretch tend train flip spin soar sleep compete enter leave",
    "toddle yell scream shout cheer celebrate congregate consume",
)
# Those that are nouns as often are decided by the words beside them; the others are verbs but after an article.
_NOUNS_TOO = _words(
    "catch climb dive drive fall fly hold jog lead lean leap hit pull push ride run sleep stand swim talk travel",
    "try watch bite blow bounce bow cross dress exit fight fill float hike hug kick laugh lift look lounge pass",
    "pedal perch play point practice race raise reach rest row shake share shoot shovel skateboard ski skate sled",
    "slide smile smoke snowboard sprint step stick stop surf swing toss touch turn use view walk wave dance drink",
    "drop show work study speed wrap skip launch land pet tear pose paddle splash crawl balance tackle approach",
    "jump strike block head line guide sail sip tow pitch serve punch sweep score spray stroll march brush cook cut",
    "paint stretch train flip spin scream shout cheer pat",
)
_ALL = frozenset(verb for line in _VERBS_ONLY for verb in line.split())
NOUN_OR_VERB = frozenset(form for verb in _ALL & _NOUNS_TOO for form in forms_of(verb))
_IRREGULAR = _words(
    "ran swam sat stood held threw caught ate slept hung lay wore took got gave made went came saw left led drove",
    "flew fell rode sang spoke tore wrote kept brought put let hit dug dove bit blew fought knelt leapt met said",
    "shook shot slid stuck swung thrown taken given seen worn done gone driven ridden written eaten hidden lit",
    "fallen bent drawn shown sewn blown grown flown torn spun strewn",
)
ALWAYS_VERBS = frozenset(form for verb in _ALL - _NOUNS_TOO for form in forms_of(verb)) | _IRREGULAR

# Of the forms in -s that may be both, those that are nouns more often: verbs only in a clause without any other.
PLURALS_MORE_OFTEN = _words(
    "waves steps drinks races dances skis skates skateboards snowboards shots slides points turns shows works lines",
    "blocks shakes dresses crosses strikes heads guides paints sails sprays sleds looks paddles pets brushes cuts",
    "trains",
)
NOUNS_IN_ING = _words(
    "building buildings ring king ceiling railing wing string painting swing spring evening morning wedding",
    "clothing crossing landing sibling earring stocking sling icing duckling pudding bedding lightning awning thing",
    "bling drawing carving covering dressing writing meeting outing viking being hotspring offspring ping-pong",
    "gathering",
)
# "fishing pole" is one phrase, "wearing boots" is not
HEADS_AFTER_ING = _words(
    "pool pools trunks suit suits boots shoes pole poles rod rods wall lot lots room table gear area board boards",
    "rink track ring rope ropes cap goggles costume equipment boat machine hat stick sticks glasses court ground",
    "grounds trail meter meters hall gown ceremony mall cart jacket vest uniform uniforms bench dress",
)
TAKE_OBJECTS = _words(
    "wearing holding carrying throwing using pulling pushing kicking catching chasing eating making watching having",
    "doing taking blowing crossing entering leaving approaching facing wielding swinging hitting building raising",
    "putting getting setting touching jumping showing seeing pointing sharing steering rowing paddling decorating",
    "cleaning",
)
NOUNS_IN_ED = _words(
    "bed red shed sled weed seed reed feed speed moped bobsled dogsled steed tweed flatbed hundred need",
)
ADJECTIVES_IN_ED = _words(
    "striped colored coloured haired dotted checkered spotted sleeved wooded crowded bearded aged tattooed hooded",
    "painted paved curved shaped sized patterned themed flowered uniformed gloved shirted clothed faced headed",
    "stuffed inflated fenced graffitied outstretched oversized muted decorated multicolored multi-colored snow-",
    "covered grass-covered tree-lined wetsuited helmeted crooked naked rugged wicked barbed armed legged eared",
    "skinned furred braided curled covered blurred plaid snowcapped snow-capped tie-dyed brightly-colored",
    "camouflaged raised closed opened iced fried",
)
OF_OTHER_LANGUAGES = {
    "de": _words(
        "der die das den dem des ein eine einen einem einer eines kein keine und oder aber mit auf in im am an von",
        "vom zu zum zur bei für über unter vor hinter neben zwischen durch gegen ohne um aus nach ist sind war",
        "waren wird werden hat haben hatte hatten sein ihr ihre ihren ihrem seine seinen seinem mein meine unser",
        "unsere er sie es wir ich du man sich nicht auch noch schon nur sehr als wie wo wer was wenn dass weil dann",
        "da hier dort dieser diese dieses einige alle viele steht stehen sitzt sitzen liegt liegen geht gehen läuft",
        "laufen spielt spielen trägt hält beim",
    ),
    "fr": _words(
        "le la les l un une des du de d et ou mais avec sur dans en à au aux par pour sous devant derrière entre",
        "sans vers chez est sont était étaient a ont avait son sa ses leur leurs mon ma mes notre nos il elle ils",
        "elles on nous vous je tu se s ne n pas plus aussi très que qui quoi où quand comme ce cet cette ces y",
    ),
    "es": _words(
        "el la los las un una unos unas de del y e o pero con en a al por para sobre bajo ante entre sin hacia",
        "hasta desde es son era eran está están estaba ha han había su sus mi mis nuestro nuestra él ella ellos",
        "ellas nosotros yo tú se no también muy más que quien donde cuando como este esta estos estas ese esa lo le",
        "les",
    ),
    "it": _words(
        "il lo la i gli le l un uno una di del dello della dei degli delle e o ma con su sul sulla sulle nel nella",
        "nei in a al alla ai alle da dal dalla per tra fra sotto sopra davanti dietro è sono era erano ha hanno suo",
        "sua suoi sue mio mia nostro nostra lui lei loro noi io tu si non anche molto più che chi dove quando come",
        "questo questa questi",
    ),
    "nl": _words(
        "de het een en of maar met op in aan van bij voor over onder achter naast tussen door tegen zonder om uit",
        "naar is zijn was waren wordt worden heeft hebben had hadden haar hun mijn onze ons hij zij ze wij we ik je",
        "jij zich niet ook nog al erg als waar wie wat wanneer dat die deze dit er hier daar te",
    ),
    "pt": _words(
        "o a os as um uma uns umas de do da dos das e ou mas com em no na nos nas por para pelo pela sobre sob",
        "entre sem até é são era eram está estão estava tem têm tinha seu sua seus suas meu minha nosso nossa ele",
        "ela eles elas nós eu se não também muito mais que quem onde quando como este esta estes estas esse essa ao",
        "aos à às",
    ),
}
# fmt: on
