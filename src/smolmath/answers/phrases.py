"""The turns of phrase with which completions commit to an answer, take it back, hedge, or talk of something else.

English, with the Chinese forms that Qwen models fall into. Fixed lists: what is not on them is not seen. No pattern
has two unbounded repeats that can match the same text, so that every scan is linear.
"""

import re

ANSWER_IS = re.compile(
    r"\banswers?\b(?:[^\n.?!:=]{0,60}?(?:\bis\b|\bare\b|\bequals\b|\b(?:must|should|would|will) be\b|[:=](?!=))"
    r"|\*\*:?)[\s*:]*(?:=(?!=)\s*)?(?:\bthat\s)?"
    r"|\b(?:correct|right|best) (?:choice|option)\b[^\n.?!:=]{0,40}?\bis\b[\s*:=]*"
    r"|答案(?:是|为|[:：])[\s*]*",
    re.IGNORECASE,
)
FINAL_ANSWER = re.compile(r"\bfinal answer\b[^\n.?!:=]{0,60}?(?:\bis\b|[:=])[\s*:=]*", re.IGNORECASE)
SENTENCE_END = re.compile(r"\n|(?<!\bi\.e)(?<!\be\.g)(?<!\bie)(?<!approx)[.!?](?=[\s*]|$)|[。！？]", re.IGNORECASE)
_THAT = r"(?:that|this|it|(?:my|the|this|that)(?: \w+)? (?:answer|result|value)(?: above)?)(?:'s| is| was)"
_NOT_RIGHT = (
    r"(?:wrong|incorrect|false|not right|not correct|not the (?:right |correct |final )?answer|a mistake|an error"
    r"|mistaken)\b"
)
WITHDRAWAL = re.compile(
    rf"\b{_THAT} {_NOT_RIGHT}"
    rf"|\A\W{{0,8}}(?:(?:which|that|this|it) )?(?:is|was) {_NOT_RIGHT}"
    r"|\A\W{0,8}(?:wait|oops|sorry|hmm+|no|actually|on second thoughts?|hold on|rather)\b[\s,:.!;-]{0,5}"
    r"(?:I (?:mean|meant)|it(?:'s| is| should be| must be)|make (?:that|it)|that's)?[\s:]{0,3}(?=[$\\-]{0,2}\d)"
    r"|\bI meant\b"
    r"|\b(?:scratch|strike) that\b\W{0,3}(?:not \S{1,20} but\b)?"
    r"|\b(?:disregard|ignore|forget)"
    r" (?:that|this|it|(?:my|the) (?:previous |earlier |first |last )?answer)\b(?: above)?"
    r"|\bI(?: have| just|'ve)? (?:made|make) (?:a|an|some) (?:\w+ )?(?:mistake|error)\b"
    r"|\bI(?:'ve| have)? (?:misread|miscounted|miscalculated|swapped|mixed up|forgot)\b[^.\n]{0,60}"
    r"|\bI was (?:wrong|mistaken)\b|\bI (?:can't|cannot) (?:solve|answer) (?:it|this|the problem)\b"
    r"|\bI (?:take (?:that|it) back|retract|withdraw)\b|\bcorrection\s*:"
    r"|\b(?:no|wait|oops|sorry),? (?:wait|actually|no|sorry)\b"
    r"|\bactually,? (?:it|that|the (?:correct )?answer)(?:'s| is| should be)"
    r"|\b(?:it|that|the answer) should (?:be|have been)\b",
    re.IGNORECASE,
)
SECOND_THOUGHT = re.compile(r"\W*(?:wait|hmm+|oops|no|oh no|actually|sorry|hold on|correction)\b", re.IGNORECASE)
DENIED = re.compile(r"(?:\b(?:not|never)|n't)\W{0,6}\Z", re.IGNORECASE)
IF = re.compile(
    r"\b(?:if|whether|unless|assuming|suppose)\s(?:that )?(?:the |my |our |your |this )?(?:final |correct )?\Z", re.I
)
WRONG_ONE = re.compile(r"\b(?:(?:wrong|incorrect|false|naive|tempting)|common (?:\w+ )?)\s?\Z", re.IGNORECASE)
OR_ELSE = re.compile(r"[\s.,;!*$)\]}-]{0,8}\bor\b[^.\n]{0,60}", re.IGNORECASE)
NEGATED = re.compile(r"\W*(?:not|no longer|never|unknown|unclear|wrong|incorrect)\b", re.IGNORECASE)
TO_THE_GRADER = re.compile(
    r"\b(?:reference|ground[ -]?truth|gold(?:en)?|label|expected (?:answer|output))\s*[:=]"
    r"|\b(?:grader|grading|evaluator|examiner|verifier|reference (?:answer|solution)|the reference|accepted|"
    r"mark (?:this|it|me|the answer)|(?:previous|prior|above) instructions|system prompt)\b",
    re.IGNORECASE,
)
COURTESY = re.compile(
    r"\W*(?:i hope|hope this|let me know|thank|feel free|if you have|you're welcome|is there anything|great job|"
    r"please let|would you like)",
    re.IGNORECASE,
)
# In a closing sentence, and before the number in it.
NO_STATEMENT = re.compile(
    r"\b(?:do not|don't|can't|cannot|not|couldn't)"
    r" (?:know|be (?:sure|determined|found|solved)|say|tell|sure|determine|enough|possible|solve|answer|find)"
    r"|\b(?:is|are|was) (?:wrong|incorrect|false|not right|not correct)\b|\b(?:wrong|incorrect) answers?\b"
    r"|\b(?:don't|doesn't|do not|does not) think\b|\bdoubt\b"
    r"|\bif (?:the|my) (?:final |correct )?answer\b"
    r"|\bno longer\b|\bunsure\b|\bunknown\b|\bimpossible\b|\beither \W?\d|\bneither \W?\d|\brespectively\b"
    r"|\bhow (?:many|much|long|far|old)\b(?!.*=)|\b(?:we|I|you) (?:still )?need to find\b"
    r"|\blet me (?:consider|think|check|try|see)\b|\bneed to think\b"
    r"|\b(?:it|problem|question|text) says\b|\bclarify\b|\bplease provide\b|\bmore information\b",
    re.IGNORECASE,
)
REFUSAL = re.compile(
    r"\bnot enough information\b|\bI (?:don't|do not) know\b|\bno idea\b"
    r"|\b(?:I am|I'm) (?:not |un)(?:sure|certain)\b"
    r"|\b(?:cannot|can't|can not) be (?:determined|found|solved|answered)\b",
    re.IGNORECASE,
)
TENTATIVE = re.compile(r"\bmaybe\b|\bperhaps\b|\b(?:I|my) guess\b|\bprobably\b|\b(?:might|could) be\b", re.IGNORECASE)
NOT_ITSELF = re.compile(
    r"(?:\b(?:anything|everything|all|nothing) but|\bother than|\bdifferent from|\bnot|n't|\bthan"
    r"|\bleast|\bmost|\bexcept|\bbetween|\bnever|\bstep|\boption|[<>≤≥≠])\W+(?:\w+\W+){0,2}$",
    re.IGNORECASE,
)

ALTERNATIVE = re.compile(
    r"\b(?:or|but|if|unless|assuming|could|might|may|maybe|perhaps|possibly|wrong|incorrect|else|otherwise|unsure)\b",
    re.IGNORECASE,
)
WHILE = re.compile(r"\b(?:in|within|during|over|after|before|until|since)\s(?:the |about |only )?\$?\Z", re.IGNORECASE)
# Directly before or behind a number: it is only part of what is said.
OPERATOR_BEFORE = re.compile(
    r"(?:√|\blog|\bln|\b(?:twice|double|triple|thrice|half)"
    r"|\b(?:half|third|quarter|roots?) of|\bexceeds?|\bup to|\bunder|\bthan or equal to|[a-zA-Z]\("
    r"|(?<=[\w)$])\s?[-+*/×÷^]"
    r"|\b(?:chapter|page|section|rule|theorem|equation|problem|question|exercise|figure|lemma|version)"
    r"|\b(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6}\.?)\s?[$(]?\s?\Z",
)
OPERATOR_BEHIND = re.compile(
    r"\$?\s?(?:squared|cubed|factorial|a\.?m\b|p\.?m\b|times [a-z]\b|with (?:a )?remainder|divided by"
    r"|choose|(?:in )?base|mod\b|(?:(?<=%)|(?<=percent))\s?of \$?\d|(?:more|less|fewer|greater)(?: \w+){0,2} than\b"
    r"|and (?:a|one|three) (?:half|third|quarter)|pi\b|π|[xyznk]\b|(?:possibly|perhaps|maybe)\b"
    r"|(?:feet|foot|hours?|pounds|minutes)(?: and)? (?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)\b"
    r"|[-+*×÷^]\s?[\w(\\√]|/\s?[\d(])",
    re.IGNORECASE,
)

# What stands between two numbers of a sentence.
RANGE = re.compile(r"\s*(?:°\s?[CF]?\s)?(?:to|through|till|until|/|[-–—])\s*", re.IGNORECASE)
HEDGE = re.compile(
    r"\b(?:or|but|either|could|might|may|maybe|perhaps|possibly|alternatively|versus|vs|else|otherwise)\b",
    re.IGNORECASE,
)
FINITE_VERB = re.compile(
    r"(?<!\btotal )(?<!\bthe )(?<!\bto )\bcosts?\b"  # "the cost of" is no verb
    r"|(?<!\bto )\b(?:is|are|was|were|will|would|can|has|have|had|makes?|pays?|earns?"
    r"|takes?|took|needs?|gets?"
    r"|spends?|saves?|equals?|weighs?|sells?|buys?|eats?|gives?|gave|owes?|contains?|becomes?|receives?|travels?"
    r"|totals|yields?|remains?|comes?|amounts?)\b"
    r"|\b[a-z]{3,12} an? (?:total|sum|average|profit|loss) of\b",
    re.IGNORECASE,
)
SUBORDINATE = re.compile(r"\b(?:who|that|which|where|when|if|because|since|after|before|until|unless|as)\b", re.I)
CONJUNCTION = re.compile(r",|;|\band\b|\bwhile\b", re.I)
CONTEXT = re.compile(
    r"\b(?:in|over|after|before|for|of|from|out|per|by|with|at|during|within|than|on|until|since|to|if|as|under|each"
    r"|every|because|across|among|between|into|through|when|where|who|that|which)\b",
    re.IGNORECASE,
)
LEADING_CLAUSE = re.compile(
    r"\W*(?:(?:so|therefore|thus|hence|then|finally|and|now)\W+){0,2}(?:in|after|if|for|with|since|when|over|during|at|by"
    r"|on"
    r"|because|given|out of|as|of|before|once|while|from|to)\b(?:[^,]|,(?=\d))*,(?!\d)",
    re.IGNORECASE,
)
CONSEQUENCE = re.compile(
    r"[,;.]?\s(?:so|therefore|thus|hence|which means(?: that)?|which gives)\b(?! that\b)|,\s(?:giving|leaving)\b",
    re.IGNORECASE,
)
REASON = re.compile(r",? (?:because|since|given that)\b", re.IGNORECASE)
AFTERTHOUGHT = re.compile(
    r",? (?:of which|which|i\.?e\b|meaning|where|instead of|rather than|out of|compared)\b|:\s", re.I
)
ASIDE = re.compile(r"\s?\([^()$\\]*\)")
# "0.5 (i.e. 50%)", but not "5 (mod 7)"
TRAILING_ASIDE = re.compile(
    r"\s\((?![^()]*\b(?:mod|base|or|and|if|unless|assuming|maybe|perhaps|possibly|wrong|incorrect|unsure)\b)(?=[^()]*(?:[a-z]{2}|[ie]\.[eg]))[^()$\\]*\)\s*\Z",
    re.IGNORECASE,
)
UNCLOSED = re.compile(r"\s\((?:i\.?e|e\.?g|or|that|which)\b[^()\\]*\Z", re.IGNORECASE)
CONTRAST = re.compile(r"(.*[^\s,]),?\s+(?:and\s+|but\s+)?not\s+[^\s]{1,20}", re.DOTALL)
ELSEWHEN = re.compile(r"\s*\w+ (?:from now|ago|later|earlier)\b", re.IGNORECASE)  # in 10 years from now
OR_SO = re.compile(
    r"\s*(?:or (?:more|less|fewer|so|greater|above|below)\b|\+(?!\s?\d)|at (?:least|most)\b)", re.IGNORECASE
)
REPLACEMENT = re.compile(r"not\s+\S{1,20}\s+but\s+(.+)", re.IGNORECASE | re.DOTALL)
CONCLUSION = re.compile(
    r"\W*(?:(?:grand )?total|answer|so|therefore|thus|hence|final|in total|altogether|overall)\b", re.I
)
